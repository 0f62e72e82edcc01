"""A stage for Runs: the real workflow on a real Temporal server, with activities that play a script.

The tests and `hosting/scripts/record_histories.py` play the same shapes (`tests/support/run_shapes.py`) on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import ActivityTaskScheduledEventAttributes
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from activities.heartbeat import record_heartbeat
from callboard.schemas.workflow import names
from callboard.schemas.workflow.alert import CountRunInput
from callboard.schemas.workflow.attempt import (
    ATTEMPT_FAILED,
    INTERRUPTED,
    WAITS_FOR_ROOM,
    AttemptInput,
    AttemptKind,
    AttemptOutcome,
    AttemptStarted,
    AttemptStatus,
    InterruptedInput,
    SealedVariables,
    StopInput,
)
from callboard.schemas.workflow.base import JsonRef
from callboard.schemas.workflow.run import ErrorCode, ReasonType, RunError, RunInput, RunOutcome, RunStatus
from callboard.temporal import closing
from callboard.temporal.closing import wait_for_outcome
from tests.support.stage import DEADLINE, WORKSPACE, Held, Stage
from workflows import visibility
from workflows.auth_session import AuthSessionWorkflow
from workflows.create import CreateWorkflow
from workflows.run_workflow import RunWorkflow
from workflows.validate import ValidateWorkflow

WORKFLOWS = (RunWorkflow, ValidateWorkflow, CreateWorkflow, AuthSessionWorkflow)
"""All that a worker has on the common queue."""

Part = Callable[[AttemptInput], Coroutine[Any, Any, AttemptOutcome]]
"""What one Attempt does."""


def run_input(project: str, **fields: Any) -> RunInput:
    """The argument of a Run."""
    defaults: dict[str, Any] = {
        "workspace": WORKSPACE,
        "project": project,
        "version": "0123456789abcdef",
        "api": "list",
        "parameters": JsonRef(text="{}", size=2),
        "maximum_attempts": 3,
        "request_timeout": timedelta(minutes=10),
    }
    return RunInput(**{**defaults, **fields})


async def start_run(client: Client, run: RunInput, run_id: str, queue: str, **options: Any) -> None:
    """Start a Run as the api does."""
    await client.start_workflow(
        RunWorkflow.run,
        run,
        id=run_id,
        task_queue=queue,
        search_attributes=visibility.run_search_attributes(run),
        memo=visibility.run_memo(run, fingerprint=""),
        **options,
    )


def completed(text: str = "1") -> AttemptOutcome:
    return AttemptOutcome(status=AttemptStatus.COMPLETED, result=JsonRef(text=text, size=len(text)))


def failed(
    message: str = "the price is missing",
    code: ErrorCode = ErrorCode.SCRIPT_EXECUTION_EXCEPTION,
    *,
    final: bool = False,
    retry_after: timedelta | None = None,
) -> AttemptOutcome:
    error = RunError(code=code, category="user", message=message)
    return AttemptOutcome(status=AttemptStatus.FAILED, error=error, final=final, retry_after=retry_after)


CANCELED = AttemptOutcome(status=AttemptStatus.CANCELED)


def ends(outcome: AttemptOutcome) -> Part:
    """An Attempt that ends at once."""

    async def part(_input: AttemptInput) -> AttemptOutcome:
        return outcome

    return part


def raises(error: Exception) -> Part:
    """An Attempt whose activity raises."""

    async def part(_input: AttemptInput) -> AttemptOutcome:
        raise error

    return part


def interrupted(message: str = "The worker was stopped before the Attempt ended.") -> Part:
    """An Attempt that its worker could not finish."""
    return raises(ApplicationError(message, type=INTERRUPTED, non_retryable=True))


LOST = ApplicationError("The worker that ran the Attempt was lost.", type=INTERRUPTED)
"""The error by which the next worker reports a lost Attempt; a heartbeat time-out brings another error."""


@activity.defn(name=names.COLLECT_VARIABLES)
async def no_variables(_input: AttemptInput) -> None:
    """Of a project that has none."""


class HeldAttempt(Held[AttemptOutcome]):
    """An Attempt that lasts until it is told how to end.

    Args:
        announced: It says to its Run that it is on a Machine.
        beats: It heartbeats, and so hears of its cancellation; then it ends as canceled.
        waits: It says to its Run, and by a heartbeat, that its worker has no room for it.
    """

    def __init__(self, stage: RunStage, *, announced: bool = False, beats: bool = False, waits: bool = False) -> None:
        super().__init__(CANCELED, beats=beats)
        self._stage = stage
        self._announced = announced
        self._waits = waits

    async def __call__(self, input: AttemptInput) -> AttemptOutcome:
        if self._announced or self._waits:
            await self._stage.announce(input.number, input, waits=self._waits)
        if self._waits:
            await record_heartbeat(WAITS_FOR_ROOM)
        return await self.hold()


class Gone:
    """An Attempt whose worker dies with it: it began, and is never heard of again."""

    def __init__(self, stage: RunStage, *, announced: bool = False) -> None:
        self._stage = stage
        self._announced = announced
        self.began = asyncio.Event()
        self.token = b""

    async def __call__(self, input: AttemptInput) -> AttemptOutcome:
        self.token = activity.info().task_token
        if self._announced:
            await self._stage.announce(input.number, input)
        self.began.set()
        activity.raise_complete_async()


@asynccontextmanager
async def both_queues(client: Client, **options: Any) -> AsyncGenerator[None]:
    """Serve the queue of Runs, and that of AuthSessions and JobRuns, by workers with these options."""
    async with (
        Worker(client, task_queue=names.RUNS_QUEUE, **options),
        Worker(client, task_queue=names.CALLBOARD_QUEUE, **options),
    ):
        yield


class RunStage(Stage):
    """One Run, its workers, and what it asked of them."""

    def __init__(self, client: Client, name: str, *, queue: str | None = None) -> None:
        super().__init__(client, name, queue=queue)
        self.project = name
        self.run_id = f"run-{name}"
        self.worker = f"worker-{name}"
        self._script: list[Part] = []
        self.inputs: list[AttemptInput] = []
        self.stops: list[StopInput] = []
        self.lost: list[InterruptedInput] = []
        self.on_stop: Callable[[StopInput], Awaitable[bool]] = _not_here
        self.collected: list[AttemptInput] = []
        """Attempts whose environment variables were asked for."""
        self.counted: list[CountRunInput] = []
        """Runs whose end was counted for alerts."""
        self.on_collect: Callable[[AttemptInput], Awaitable[SealedVariables | None]] = _none
        self.on_lost: Callable[[InterruptedInput], Awaitable[AttemptOutcome | None]] = _noted
        self.outcome = RunOutcome(status=RunStatus.PENDING)
        """Set by whoever has waited for it."""
        self._control: Worker | None = None
        self._attempts: Worker | None = None

    @property
    def handle(self) -> WorkflowHandle[RunWorkflow, RunOutcome]:
        return self.client.get_workflow_handle_for(RunWorkflow.run, self.run_id)

    # The workers.

    async def serve(self, *parts: Part) -> None:
        """Serve the workflow, this script of Attempts, and requests to stop one."""
        await self.serve_runs()
        await self.serve_attempts(*parts)
        await self.serve_stops()

    async def serve_runs(self) -> None:
        """Serve workflows, `record_lost` and `collect_variables`."""

        @activity.defn(name=names.RECORD_INTERRUPTED)
        async def record_lost(lost: InterruptedInput) -> AttemptOutcome | None:
            self.lost.append(lost)
            return await self.on_lost(lost)

        @activity.defn(name=names.COLLECT_VARIABLES)
        async def collect_variables(input: AttemptInput) -> SealedVariables | None:
            self.collected.append(input)
            return await self.on_collect(input)

        @activity.defn(name=names.COUNT_RUN)
        async def count_run(input: CountRunInput) -> None:
            self.counted.append(input)

        activities = [record_lost, collect_variables, count_run, *self.light_activities()]
        self._control = await self.work(self.queue, activities, workflows=WORKFLOWS)

    async def stop_serving_runs(self) -> None:
        """What happens from now on waits for the next `serve_runs`, and so comes in one workflow task."""
        assert self._control
        await self._control.shutdown()

    async def serve_attempts(self, *parts: Part) -> None:
        """Attempt n plays the nth part."""
        self._script = list(parts)

        @activity.defn(name=names.ATTEMPT)
        async def attempt(input: AttemptInput) -> AttemptOutcome:
            outcome = await self.one_attempt(input)
            if outcome.status is AttemptStatus.FAILED and outcome.error is not None:
                raise ApplicationError(outcome.error.message, outcome, type=ATTEMPT_FAILED, non_retryable=True)
            return outcome

        activities = [attempt, *self.browser_activities()]
        self._attempts = await self.work(names.project_queue(self.project), activities)

    async def one_attempt(self, input: AttemptInput) -> AttemptOutcome:
        """What its part of the script comes to."""
        self.inputs.append(input)
        return await self._script[input.number - 1](input)

    async def stop_serving_attempts(self) -> None:
        """Take no other Attempt; does not wait for those that run."""
        assert self._attempts
        self._stopping = asyncio.create_task(self._attempts.shutdown())

    async def serve_stops(self) -> None:
        @activity.defn(name=names.STOP_ATTEMPT)
        async def stop_attempt(input: StopInput) -> bool:
            self.stops.append(input)
            return await self.on_stop(input)

        await self.work(names.worker_queue(self.worker), [stop_attempt])

    def light_activities(self) -> list[Callable[..., Any]]:
        """More of them, on the queue of the workflows."""
        return []

    def browser_activities(self) -> list[Callable[..., Any]]:
        """More of them, on the queue of the project."""
        return []

    # What happens to the Run.

    async def start(self, run_id: str | None = None, *, task_timeout: timedelta | None = None, **fields: Any) -> None:
        run = run_input(self.project, **fields)
        await start_run(self.client, run, run_id or self.run_id, self.queue, task_timeout=task_timeout)

    async def announce(self, number: int, input: AttemptInput | None = None, *, waits: bool = False) -> None:
        """The signals with which an Attempt says that it is on a Machine. Without an input: one of the stage's Run."""
        started = AttemptStarted(number=number, machine=f"{self.project}-1", worker=self.worker, waits=waits)
        run_id = input.run_id if input else self.run_id
        await self.client.get_workflow_handle(run_id).signal(names.ATTEMPT_STARTED, started)
        if input and input.kind is AttemptKind.CHECK and input.parent_run_id:
            waiting = self.client.get_workflow_handle(input.parent_run_id)
            await waiting.signal(names.VALIDATE_STARTED, number)

    async def cancel(self, run_id: str | None = None) -> None:
        """Of the stage's Run, or of this workflow."""
        await self.client.get_workflow_handle(run_id or self.run_id).cancel()

    def stopping(self, held: HeldAttempt, outcome: AttemptOutcome = CANCELED) -> HeldAttempt:
        """The same Attempt, which ends so as soon as a worker is told to stop one."""

        async def stop(_input: StopInput) -> bool:
            held.end(outcome)
            return True

        self.on_stop = stop
        return held

    # What can be seen of it.

    async def ended(self) -> RunOutcome:
        """Wait for the Run's outcome. Its workflow must have closed by itself, as the outcome says."""
        return await outcome_of(self.handle)


async def outcome_of(handle: WorkflowHandle[Any, RunOutcome]) -> RunOutcome:
    """Wait for the outcome of a Run. Its workflow must have closed by itself, as the outcome says."""
    async with asyncio.timeout(DEADLINE):
        outcome = await wait_for_outcome(handle)
    assert outcome not in (closing.CANCELED, closing.TERMINATED, closing.INTERNAL_ERROR)
    closed = (await handle.describe()).status
    if outcome.status is RunStatus.COMPLETED:
        assert closed is WorkflowExecutionStatus.COMPLETED
    elif outcome.reason is not None and outcome.reason.type is ReasonType.CANCELLED_USER_ACTION:
        assert closed is WorkflowExecutionStatus.CANCELED
    else:
        assert closed is WorkflowExecutionStatus.FAILED
    return outcome


async def _not_here(_input: StopInput) -> bool:
    return False


async def sealed_variables(input: AttemptInput) -> SealedVariables:
    """What is collected for an Attempt of a project that has variables."""
    return SealedVariables(token=f"sealed for {input.kind} {input.number}")


async def _none(_input: AttemptInput) -> None:
    return None


async def _noted(_lost: InterruptedInput) -> AttemptOutcome | None:
    return None


def scheduled(events: Sequence[Any]) -> list[ActivityTaskScheduledEventAttributes]:
    """What a workflow scheduled, from its history."""
    return [
        event.activity_task_scheduled_event_attributes
        for event in events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]
