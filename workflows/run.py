"""Workflow `Run`: one API, executed by Attempts until one succeeds or none is left (contract section 10)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ActivityError
from temporalio.workflow import ActivityCancellationType, ActivityHandle

with workflow.unsafe.imports_passed_through():
    from contract.flow import names
    from contract.flow.attempt import (
        AttemptInput,
        AttemptOutcome,
        AttemptStarted,
        AttemptStatus,
        LostInput,
        StopInput,
    )
    from contract.flow.run import RunInput, RunOutcome, RunStatus
    from workflows import verdict

_STATUS = SearchAttributeKey.for_keyword(names.SEARCH_STATUS)

INTERRUPTIONS = 3
"""An Attempt lost with its worker does not count, and is tried again at most so often."""

OUTER_WALL = timedelta(hours=12, minutes=5)
"""No Attempt's activity lives longer: the hard limit of `extend_timeout`, and time for a Machine to come and go.
The Attempt's own clock is kept by the worker."""

HEARTBEAT = timedelta(seconds=30)

_ONCE = RetryPolicy(maximum_attempts=1)


@workflow.defn(name=names.RUN)
class RunWorkflow:
    """One Run. Its id is the Run's id; its result is the outcome, whatever Temporal's close status says."""

    def __init__(self) -> None:
        self._cancel_asked = False
        self._status = RunStatus.PENDING
        self._where: AttemptStarted | None = None
        self._maximum_attempts = 0

    @workflow.run
    async def run(self, order: RunInput) -> RunOutcome:
        """Execute Attempts in turn and return how the Run ended."""
        self._maximum_attempts = order.maximum_attempts
        outcome = await self._attempts(order)
        self._become(outcome.status, f"{outcome.status.capitalize()} after {outcome.attempts} Attempt(s)")
        return outcome

    async def _attempts(self, order: RunInput) -> RunOutcome:
        number = failures = interruptions = 0
        while True:
            number += 1
            ended = await self._attempt(order, number)
            if ended.status is AttemptStatus.COMPLETED:
                return verdict.completed(ended, number)
            if ended.status is AttemptStatus.CANCELED:
                return verdict.canceled(number)
            if ended.status is AttemptStatus.INTERRUPTED:
                await self._record_lost(order, number, ended)
                if self._cancel_asked:
                    return verdict.canceled(number)
                interruptions += 1
                none_left = order.maximum_attempts == 1 or interruptions > INTERRUPTIONS
            else:
                failures += 1
                none_left = failures == order.maximum_attempts
            # How the Attempt ended stands, also if a cancel was asked for as it did; there is only no other.
            if ended.final:
                return verdict.failed_for_good(ended, number)
            if none_left:
                return verdict.attempts_failed(ended, number)
            if self._cancel_asked:
                return verdict.canceled(number)
            self._become(RunStatus.STARTED, f"Attempt {number} {ended.status}; Attempt {number + 1} is next")

    async def _attempt(self, order: RunInput, number: int) -> AttemptOutcome:
        """One Attempt on a Machine. Comes back, also when canceled, only once the Machine is done with it."""
        begun = number > 1
        handle = workflow.start_activity(
            names.ATTEMPT,
            AttemptInput(
                workspace=order.workspace,
                run_id=workflow.info().workflow_id,
                number=number,
                project=order.project,
                version=order.version,
                api=order.api,
                parameters=order.parameters,
                request_timeout=order.request_timeout,
                save_trace=order.save_trace,
                proxy=order.proxy,
            ),
            activity_id=names.attempt_activity_id(number),
            result_type=AttemptOutcome,
            task_queue=names.project_queue(order.project),
            priority=Priority(priority_key=names.PRIORITY_BEGUN if begun else names.PRIORITY_NOT_BEGUN),
            start_to_close_timeout=OUTER_WALL,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=_ONCE,
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=f"Attempt {number}",
        )
        try:
            try:
                # Shielded, because an awaited activity that waits for its cancellation swallows the cancel.
                return await asyncio.shield(handle)
            except asyncio.CancelledError:
                self._cancel_asked = True
                # Hear all that came in this workflow task: to cancel the handle now would drop an outcome among it.
                await workflow.wait_condition(lambda: True)
                if not handle.done():
                    handle.cancel()
                    await self._stop(handle, number)
                return await handle
        except ActivityError as error:
            return verdict.of_lost_attempt(error)

    async def _stop(self, handle: ActivityHandle[AttemptOutcome], number: int) -> None:
        """Tell the worker that holds the Attempt to stop it now; by heartbeat alone it would learn it seconds later.

        The activity signals within half a second where it runs. Whatever fails here, the heartbeat is the backstop.
        """
        try:
            await workflow.wait_condition(
                lambda: handle.done() or self._on_machine(number) is not None, timeout=timedelta(seconds=10)
            )
            where = self._on_machine(number)
            if handle.done() or where is None:
                return
            await workflow.execute_activity(
                names.STOP_ATTEMPT,
                StopInput(run_id=workflow.info().workflow_id, number=number),
                task_queue=names.worker_queue(where.worker),
                priority=Priority(priority_key=names.PRIORITY_BEGUN),
                schedule_to_close_timeout=timedelta(seconds=2),
                retry_policy=_ONCE,
                summary=f"Stop Attempt {number}",
            )
        except (TimeoutError, ActivityError) as error:
            workflow.logger.info("Attempt %d learns of its cancellation by heartbeat: %s", number, error)

    async def _record_lost(self, order: RunInput, number: int, ended: AttemptOutcome) -> None:
        """Write the record that the lost worker could not write. A failing store does not hold up the Run."""
        handle = workflow.start_activity(
            names.RECORD_LOST,
            LostInput(
                workspace=order.workspace,
                run_id=workflow.info().workflow_id,
                number=number,
                project=order.project,
                cause=ended.error.message if ended.error else "",
            ),
            schedule_to_close_timeout=timedelta(seconds=30),
            start_to_close_timeout=timedelta(seconds=10),
            priority=Priority(priority_key=names.PRIORITY_BEGUN),
            summary=f"Attempt {number} was lost",
        )
        try:
            try:
                await asyncio.shield(handle)
            except asyncio.CancelledError:
                self._cancel_asked = True
                await handle
        except ActivityError as error:
            workflow.logger.warning("Attempt %d stays without its final record: %s", number, error.cause)

    @workflow.signal(name=names.ATTEMPT_STARTED)
    def attempt_started(self, started: AttemptStarted) -> None:
        """The Attempt is on a Machine and has been for a moment (a quick one never says so)."""
        if self._where is not None and self._where.number > started.number:
            return  # late, of an Attempt that is over
        self._where = started
        self._become(
            RunStatus.STARTED,
            f"Attempt {started.number} of {self._maximum_attempts} on Machine {started.machine} "
            f"(worker {started.worker})",
        )

    def _on_machine(self, number: int) -> AttemptStarted | None:
        return self._where if self._where and self._where.number == number else None

    def _become(self, status: RunStatus, details: str) -> None:
        """Say it to lists and filters, and to the reader of the Temporal Web UI."""
        workflow.set_current_details(details)
        if status is not self._status:
            self._status = status
            workflow.upsert_search_attributes(  # pyright: ignore[reportUnknownMemberType]  # the SDK's own type
                [_STATUS.value_set(status.value)]
            )
