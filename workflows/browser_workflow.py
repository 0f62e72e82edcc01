"""What `Run`, `Validate` and `Create` share: browser activities, cancellation, status and close."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import ActivityError, FailureError
from temporalio.workflow import ActivityCancellationType, ActivityHandle

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.actor import Actor
    from callboard.schemas.workflow.attempt import (
        AttemptInput,
        AttemptOutcome,
        AttemptStarted,
        AttemptStatus,
        InterruptedInput,
        SealedVariables,
        StopInput,
    )
    from callboard.schemas.workflow.base import MESSAGE_LIMIT, clip
    from callboard.schemas.workflow.handoff import HandoffAnswer, HandoffEnd, HandoffRequest, OpenedLink
    from callboard.schemas.workflow.run import ErrorCode, ReasonType, RunError, RunOutcome, RunStatus, RunSummary
    from workflows.cancellation import end_of, finish
    from workflows.handoffs import Handoffs
    from workflows.outcomes import cause_of, close
    from workflows.priorities import pending_priority
    from workflows.visibility import ERROR_CODE, STATUS, code_block

OUTER_LIMIT = timedelta(hours=12, minutes=5)
"""Longest time of a browser activity: the hard limit of `extend_timeout`, and time for a Machine to start and stop.
The worker keeps the Attempt's own clock."""

HEARTBEAT_TIMEOUT = timedelta(seconds=30)

ONCE = RetryPolicy(maximum_attempts=1)

MAXIMUM_INTERRUPTIONS = 3
"""How often an Attempt or a check that was interrupted is repeated at most: it does not count as one that failed."""

_FIND_OUTCOME_TIMEOUT = timedelta(seconds=15)
"""How long a Run waits at most to learn whether a lost Attempt has stored an outcome, before it is made again."""

_VARIABLES_TIMEOUT = timedelta(minutes=10)
"""How long a store that fails is asked again for the environment variables of an Attempt, before its Run fails."""
_LONGEST_VARIABLES_TRY = timedelta(minutes=2)
_VARIABLES_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=200),
    maximum_interval=timedelta(seconds=15),
    non_retryable_error_types=["ConfigurationError", "SealError"],
)
_LONGEST_LOCAL_PAUSE = timedelta(seconds=4)
"""Longest pause between two tries that the worker waits for in one workflow task; a longer one is a timer."""

_LOCATION_TIMEOUT = timedelta(seconds=10)
"""How long a cancel waits to learn which worker holds the Attempt, before it leaves the stop to the heartbeat."""


class BrowserWorkflow:
    """Base class of the workflows that execute browser activities.

    A cancel request never interrupts the steps of such a workflow: it sets `_cancel_requested`, and each step reacts to
    that. So a step is awaited as it is written, and what has to happen on every path happens.
    """

    def __init__(self) -> None:
        self._cancel_requested = False
        self._status = RunStatus.PENDING
        self._location: AttemptStarted | None = None
        """Where the last Attempt runs that has signaled its start."""
        self._started_at: datetime | None = None
        """When the first Attempt began on a Machine, as far as that is known."""
        self._handoffs = Handoffs()
        self._last_failure = ""
        """Why the last Attempt failed or was lost, for the reader of the Temporal Web UI; empty if none has."""

    async def _run_to_close(self, steps: Coroutine[Any, Any, RunOutcome]) -> RunOutcome:
        """Await all steps of this workflow, and close it as their outcome says.

        Raises:
            ApplicationError, CancelledError: What `workflows.outcomes.close` raises.
        """
        ended = await finish(steps, self._note_cancel)
        # Who has asked, or answered, in the last moment is told so before the workflow closes.
        await workflow.wait_condition(workflow.all_handlers_finished)
        outcome = ended.model_copy(
            update={"started_at": self._started_at, "ended_at": workflow.now(), "canceled_by": _canceled_by(ended)}
        )
        cause = cause_of(outcome)
        why = f": {cause.code}{code_block(cause.message)}" if cause else ""
        who = f" by `{outcome.canceled_by}`" if outcome.canceled_by else ""
        details = f"{outcome.status.capitalize()}{who} after {outcome.attempts} Attempt(s){why}"
        if outcome.status is RunStatus.COMPLETED:
            workflow.set_current_details(details)  # lists know it by the close of the workflow: one action less
        else:
            self._set_status(outcome.status, details, outcome.error)
        result = "" if outcome.result is None else outcome.result.beginning
        self._update_summary(attempts=outcome.attempts, cause=cause, result=result)
        return close(outcome, cancel_requested=self._cancel_requested)

    def _note_cancel(self) -> None:
        self._cancel_requested = True

    async def _execute_browser_activity(
        self,
        activity: str,
        attempt: AttemptInput,
        *,
        activity_id: str,
        retry_policy: RetryPolicy,
        is_run_started: bool,
        summary: str,
        queue_timeout: timedelta | None,
        reads_variables: bool = True,
    ) -> AttemptOutcome:
        """Execute one browser activity; after a cancel request, return once the Machine is done with it.

        Args:
            activity: The activity type.
            attempt: The input of the activity.
            activity_id: By which operators find the activity in Temporal.
            retry_policy: How many tries there may be. Each takes a number, counted from `attempt.number`.
            is_run_started: Whether the Run has started: then it takes precedence over Runs that have not.
            summary: What the Temporal Web UI shows of it.
            queue_timeout: Longest time that it may wait for a Machine.
            reads_variables: Whether there may be variables for it, or secrets to which parameters of its login refer.

        Raises:
            ActivityError: There is no outcome; `workflows.outcomes` says what that means.
        """
        variables = await self._collect_variables(attempt) if reads_variables else None
        if isinstance(variables, AttemptOutcome):
            return variables
        if self._cancel_requested:
            return AttemptOutcome(status=AttemptStatus.CANCELED)
        workflow.set_current_details(f"{summary} waits for a Machine of {attempt.project}{self._last_failure}")
        handle = workflow.start_activity(
            activity,
            attempt.model_copy(update={"queue_timeout": queue_timeout, "variables": variables}),
            activity_id=activity_id,
            result_type=AttemptOutcome,
            task_queue=names.project_queue(attempt.project),
            priority=(
                Priority(priority_key=names.PRIORITY_STARTED)
                if is_run_started
                else pending_priority(attempt.job, workflow.info().priority)
            ),
            schedule_to_start_timeout=queue_timeout,
            start_to_close_timeout=OUTER_LIMIT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=retry_policy,
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=summary,
        )
        self._handoffs.begin_attempt(attempt.number)
        # An outcome that comes in the same workflow task as the cancel stands.
        await workflow.wait_condition(lambda: handle.done() or self._cancel_requested)
        self._handoffs.close()
        if not handle.done():
            handle.cancel()
            await self._stop_attempt(handle, attempt.number, retried=retry_policy is not ONCE)
            await workflow.wait_condition(handle.done)
        self._handoffs.withdraw()
        return await handle

    async def _collect_variables(self, attempt: AttemptInput) -> SealedVariables | AttemptOutcome | None:
        """Return the environment variables of the Attempt, sealed; None if there are none, or a cancel is requested.

        A local activity reads them, since workers with Machines may not: it takes one event, a marker. If they cannot
        be read, return the outcome of the Attempt, which has not begun.
        """
        handle = workflow.start_local_activity(
            names.COLLECT_VARIABLES,
            attempt,
            result_type=SealedVariables,
            schedule_to_close_timeout=_VARIABLES_TIMEOUT,
            start_to_close_timeout=_LONGEST_VARIABLES_TRY,
            retry_policy=_VARIABLES_RETRY,
            local_retry_threshold=_LONGEST_LOCAL_PAUSE,
            cancellation_type=ActivityCancellationType.TRY_CANCEL,
        )
        try:
            return await end_of(handle, lambda: self._cancel_requested)
        except FailureError as error:  # what a local activity has failed by is not wrapped, unless it was canceled
            if self._cancel_requested:
                return None
            cause = clip(f"The Attempt could not begin: {error}", MESSAGE_LIMIT)
            failure = RunError(
                code=ErrorCode.INTERNAL_SERVER_ERROR, category="infrastructure", message=cause, retirable=True
            )
            return AttemptOutcome(status=AttemptStatus.FAILED, error=failure, final=True)

    async def _stop_attempt(self, handle: ActivityHandle[AttemptOutcome], number: int, *, retried: bool) -> None:
        """Ask the worker that holds the Attempt to stop it now; by heartbeat alone it would learn of it seconds later.

        The activity signals its location after a second. Whatever fails here, the heartbeat is the backstop.
        """
        while not handle.done():
            try:
                await workflow.wait_condition(
                    lambda wanted=number: handle.done() or self._location_of(wanted) is not None,
                    timeout=_LOCATION_TIMEOUT,
                )
            except TimeoutError:
                workflow.logger.info("Attempt %d learns of its cancellation by heartbeat", number)
                return
            location = self._location_of(number)
            if handle.done() or location is None or await self._request_stop(location) or not retried:
                return
            number = location.number + 1  # A later try runs on another worker, which has not signaled yet.

    async def _request_stop(self, location: AttemptStarted) -> bool:
        """Ask the worker there to stop its Attempt of this Run; return whether it still had one."""
        try:
            return await workflow.execute_activity(
                names.STOP_ATTEMPT,
                StopInput(run_id=workflow.info().workflow_id, number=location.number),
                result_type=bool,
                task_queue=names.worker_queue(location.worker),
                priority=Priority(priority_key=names.PRIORITY_STARTED),
                schedule_to_close_timeout=timedelta(seconds=2),
                retry_policy=ONCE,
                summary=f"Stop Attempt {location.number}",
            )
        except ActivityError as error:
            workflow.logger.info("Attempt %d could not be stopped where it was: %s", location.number, error.cause)
            return False

    async def _find_outcome(self, attempt: AttemptInput, number: int, error: RunError | None) -> AttemptOutcome | None:
        """Return the outcome that a lost Attempt has stored, and which counts: nothing is computed twice.

        Without one, the record is written that the lost worker could not write. A failing store holds up the Run only
        for a moment.
        """
        execution_id = workflow.info().run_id
        try:
            found = await workflow.execute_activity(
                names.RECORD_INTERRUPTED,
                InterruptedInput.of(attempt, number, cause=error.message if error else "", execution_id=execution_id),
                schedule_to_close_timeout=_FIND_OUTCOME_TIMEOUT,
                start_to_close_timeout=timedelta(seconds=10),
                priority=Priority(priority_key=names.PRIORITY_STARTED),
                summary=f"Look for the outcome of Attempt {number}, or record that it was lost",
            )
        except ActivityError as failure:
            workflow.logger.warning("Attempt %d stays without its final record: %s", number, failure.cause)
            return None
        return None if found is None else AttemptOutcome.model_validate(found)

    @workflow.signal(name=names.ATTEMPT_STARTED)
    def attempt_started(self, started: AttemptStarted) -> None:
        """Note that an Attempt has been on a Machine for a moment (a quick one never says so)."""
        if self._location is not None and self._location.number > started.number:
            return  # The signal came late, from an Attempt that is over.
        self._location = started
        self._handoffs.note_try(started.number)
        if started.waits:
            where = f"at worker {started.worker}, which prepares it or has no room for one yet"
            workflow.set_current_details(f"Attempt {started.number} waits for a Machine {where}{self._last_failure}")
            return
        where = f"on Machine {started.machine} (worker {started.worker})"
        self._set_status(RunStatus.STARTED, f"Attempt {started.number} runs {where}{self._last_failure}")
        self._record_start(started.started_at)
        self._update_summary(attempts=started.number)

    @workflow.update(name=names.ASK)
    async def ask(self, asked: HandoffRequest) -> HandoffEnd:
        """Ask a person for an Attempt, and return how that ends."""
        return await self._handoffs.ask(asked)

    @ask.validator
    def _check_asked(self, asked: HandoffRequest) -> None:
        self._handoffs.check_taken(asked.attempt)

    @workflow.update(name=names.ANSWER)
    def answer(self, answer: HandoffAnswer) -> None:
        """Give an open Handoff the answer of a person."""
        self._handoffs.end(answer.id, answer.end)

    @answer.validator
    def _check_answer(self, answer: HandoffAnswer) -> None:
        self._handoffs.check_open(answer.id)

    @workflow.update(name=names.OPEN_LINK)
    def open_link(self, opened: OpenedLink) -> None:
        """Open a Handoff by a link, which counts once."""
        self._handoffs.open_link(opened)

    @open_link.validator
    def _check_link(self, opened: OpenedLink) -> None:
        self._handoffs.check_link(opened)

    @workflow.signal(name=names.END_HANDOFF)
    def end_handoff(self, ended: HandoffAnswer) -> None:
        """End a Handoff, as the code that has asked does not wait for a person any more."""
        self._handoffs.take_back(ended)

    def _location_of(self, number: int) -> AttemptStarted | None:
        """Return where this Attempt runs, or a later try of the same activity."""
        return self._location if self._location and self._location.number >= number else None

    def _record_start(self, at: datetime | None, *, first: bool = False) -> None:
        """Note when something of this Run began on a Machine.

        Args:
            at: The time, as far as it is known. While a Machine is being started, its Attempt seems to run already.
            first: Whether the first Attempt, or its Validate, has ended, and gives the true time.
        """
        if at is not None and (first or self._started_at is None):
            self._started_at = at

    def _update_summary(self, **fields: Any) -> None:
        """Update the summary in the memo, which lists of Runs show."""
        shown = self._summary()
        changed = shown.model_copy(update={"started_at": self._started_at, **fields})
        if changed != shown:
            workflow.upsert_memo({names.MEMO_SUMMARY: changed.model_dump(mode="json")})

    def _summary(self) -> RunSummary:
        return workflow.memo_value(names.MEMO_SUMMARY, type_hint=RunSummary)

    def _set_status(self, status: RunStatus, details: str, error: RunError | None = None) -> None:
        """Publish the status, and why the Run has failed, to filters, and the details to the Temporal Web UI."""
        workflow.set_current_details(details)
        if status is not self._status:
            self._status = status
            workflow.upsert_search_attributes(  # pyright: ignore[reportUnknownMemberType]  # the SDK's own type
                [STATUS.value_set(status.value), *([] if error is None else [ERROR_CODE.value_set(error.code.value)])]
            )


def _canceled_by(outcome: RunOutcome) -> Actor | None:
    """Return who has canceled a Run that ended so by request; None if the request did not say."""
    is_by_request = outcome.reason is not None and outcome.reason.type is ReasonType.CANCELLED_USER_ACTION
    return Actor.of_cancel_reason(workflow.cancellation_reason()) if is_by_request else None
