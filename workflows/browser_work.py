"""What `Run`, `Validate` and `Create` have in common: one browser activity at a time, stopped at once by a cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ActivityError
from temporalio.workflow import ActivityCancellationType, ActivityHandle, ChildWorkflowHandle

with workflow.unsafe.imports_passed_through():
    from contract.flow import names
    from contract.flow.attempt import AttemptStarted, LostInput, StopInput
    from contract.flow.base import FlowModel, clip
    from contract.flow.run import RunCause, RunOutcome, RunStatus, RunSummary

STATUS = SearchAttributeKey.for_keyword(names.SEARCH_STATUS)

OUTER_WALL = timedelta(hours=12, minutes=5)
"""No Attempt's activity lives longer: the hard limit of `extend_timeout`, and time for a Machine to come and go.
The Attempt's own clock is kept by the worker."""

HEARTBEAT = timedelta(seconds=30)

ONCE = RetryPolicy(maximum_attempts=1)

_IN_SHORT = 300
"""Characters of a message that lists show."""


class BrowserWork:
    """State and steps; a workflow inherits them."""

    def __init__(self) -> None:
        self._cancel_asked = False
        # A Validate can have ended by the time it is started.
        self._status = RunStatus(workflow.info().typed_search_attributes.get(STATUS, RunStatus.PENDING))
        self._where: AttemptStarted | None = None
        self._maximum_attempts = 0
        """For the reader of the details; 0: not said."""
        self._started_at: datetime | None = None

    async def _on_machine[T: FlowModel](
        self,
        activity: str,
        order: FlowModel,
        outcome: type[T],
        *,
        project: str,
        number: int,
        activity_id: str,
        retry: RetryPolicy,
        begun: bool,
        summary: str,
    ) -> T:
        """Have one browser activity carried out, for Attempt `number`, with the tries that `retry` allows.

        Comes back, also when canceled, only once the Machine is done with it; `_cancel_asked` tells of a cancel.

        Raises:
            ActivityError: There is no outcome; `workflows.verdict` says what that means.
        """
        handle = workflow.start_activity(
            activity,
            order,
            activity_id=activity_id,
            result_type=outcome,
            task_queue=names.project_queue(project),
            priority=Priority(priority_key=names.PRIORITY_BEGUN if begun else names.PRIORITY_NOT_BEGUN),
            start_to_close_timeout=OUTER_WALL,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=retry,
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=summary,
        )
        try:
            # Shielded, because an awaited activity that waits for its cancellation swallows the cancel.
            return await asyncio.shield(handle)
        except asyncio.CancelledError:
            self._cancel_asked = True
            # Hear all that came in this workflow task: to cancel the handle now would drop an outcome among it.
            await workflow.wait_condition(lambda: True)
            if not handle.done():
                handle.cancel()
                await self._stop(handle, number, retried=retry is not ONCE)
            return await handle

    async def _child(self, starting: Awaitable[ChildWorkflowHandle[Any, RunOutcome]]) -> RunOutcome:
        """Start a Run that this one waits for, and wait; when canceled, once that one has ended.

        Raises:
            ChildWorkflowError: It ended without an outcome.
        """
        return await self._end_of(await self._to_its_end(starting))

    async def _end_of(self, handle: ChildWorkflowHandle[Any, RunOutcome]) -> RunOutcome:
        """Wait for the end of a Run that was started; when canceled, cancel it. Raises ChildWorkflowError."""
        try:
            if not self._cancel_asked:
                return await asyncio.shield(handle)
        except asyncio.CancelledError:
            self._cancel_asked = True
        await workflow.wait_condition(lambda: True)
        if not handle.done():
            handle.cancel()
        return await handle

    async def _to_its_end[T](self, work: Awaitable[T]) -> T:
        """Await what takes a moment and must not be given up; `_cancel_asked` tells of a cancel meanwhile.

        Awaited as they are, the SDK's signals, starts and activities swallow a cancel.
        """
        doing = asyncio.ensure_future(work)
        try:
            return await asyncio.shield(doing)
        except asyncio.CancelledError:
            self._cancel_asked = True
            return await doing

    async def _stop(self, handle: ActivityHandle[Any], number: int, *, retried: bool) -> None:
        """Tell the worker that holds the Attempt to stop it now; by heartbeat alone it would learn it seconds later.

        The activity signals within half a second where it runs. Whatever fails here, the heartbeat is the backstop.
        """
        try:
            while not handle.done():
                known = partial(self._where_is, number)
                await workflow.wait_condition(
                    lambda where=known: handle.done() or where() is not None, timeout=timedelta(seconds=10)
                )
                where = known()
                if handle.done() or where is None or await self._stopped(where) or not retried:
                    return
                number = where.number + 1  # it is a later try, on another worker, that has not said so yet
        except TimeoutError:
            workflow.logger.info("Attempt %d learns of its cancellation by heartbeat", number)

    async def _stopped(self, where: AttemptStarted) -> bool:
        """Whether the worker that had this Attempt has one of this Run, and stops it."""
        try:
            return await workflow.execute_activity(
                names.STOP_ATTEMPT,
                StopInput(run_id=workflow.info().workflow_id, number=where.number),
                result_type=bool,
                task_queue=names.worker_queue(where.worker),
                priority=Priority(priority_key=names.PRIORITY_BEGUN),
                schedule_to_close_timeout=timedelta(seconds=2),
                retry_policy=ONCE,
                summary=f"Stop Attempt {where.number}",
            )
        except ActivityError as error:
            workflow.logger.info("Attempt %d could not be stopped where it was: %s", where.number, error.cause)
            return False

    async def _record_lost(self, lost: LostInput) -> None:
        """Write the record that the lost worker could not write. A failing store does not hold up the Run."""
        handle = workflow.start_activity(
            names.RECORD_LOST,
            lost,
            schedule_to_close_timeout=timedelta(seconds=30),
            start_to_close_timeout=timedelta(seconds=10),
            priority=Priority(priority_key=names.PRIORITY_BEGUN),
            summary=f"Attempt {lost.number} was lost",
        )
        try:
            await self._to_its_end(handle)
        except ActivityError as error:
            workflow.logger.warning("Attempt %d stays without its final record: %s", lost.number, error.cause)

    @workflow.signal(name=names.ATTEMPT_STARTED)
    def attempt_started(self, started: AttemptStarted) -> None:
        """The Attempt is on a Machine and has been for a moment (a quick one never says so)."""
        if self._where is not None and self._where.number > started.number:
            return  # late, of an Attempt that is over
        self._where = started
        of = f" of {self._maximum_attempts}" if self._maximum_attempts else ""
        where = f"on Machine {started.machine} (worker {started.worker})"
        self._become(RunStatus.STARTED, f"Attempt {started.number}{of} {where}")
        self._began(started.started_at)
        self._summarize(attempts=started.number)

    def _where_is(self, number: int) -> AttemptStarted | None:
        """Where the Attempt is; or a later try of the same activity."""
        return self._where if self._where and self._where.number >= number else None

    def _began(self, at: datetime | None, *, first: bool = False) -> None:
        """Something of it began on a Machine then.

        Args:
            at: As far as that is known. While a Machine is being started, its Attempt seems to have begun already.
            first: It is the end of the first Attempt, or Validate, that says so, and not its beginning.
        """
        if at is not None and (first or self._started_at is None):
            self._started_at = at

    def _ended(self, outcome: RunOutcome) -> RunOutcome:
        """Say how it ended. Returns the outcome, with what else is known."""
        cause = None
        if outcome.error is not None:
            cause = RunCause(word=outcome.error.code.value, message=clip(outcome.error.message, _IN_SHORT))
        elif outcome.reason is not None:
            cause = RunCause(word=outcome.reason.type.value, message=clip(outcome.reason.message, _IN_SHORT))
        self._become(outcome.status, f"{outcome.status.capitalize()} after {outcome.attempts} Attempt(s)")
        self._summarize(attempts=outcome.attempts, cause=cause)
        return outcome.model_copy(update={"started_at": self._started_at})

    def _summarize(self, **known: Any) -> None:
        """Keep what lists show up to date, in a Run that was started with it."""
        shown = workflow.memo_value(names.MEMO_SUMMARY, None, type_hint=RunSummary)
        if shown is not None:
            changed = shown.model_copy(update={"started_at": self._started_at, **known})
            if changed != shown:
                workflow.upsert_memo({names.MEMO_SUMMARY: changed.model_dump(mode="json")})

    def _become(self, status: RunStatus, details: str) -> None:
        """Say it to lists and filters, and to the reader of the Temporal Web UI."""
        workflow.set_current_details(details)
        if status is not self._status:
            self._status = status
            workflow.upsert_search_attributes(  # pyright: ignore[reportUnknownMemberType]  # the SDK's own type
                [STATUS.value_set(status.value)]
            )
