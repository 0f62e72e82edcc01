"""Workflow `Run` with scripted Attempts, shape by shape."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType, ParentClosePolicy
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import StopInput
from callboard.schemas.workflow.base import JsonRef
from callboard.schemas.workflow.delivery import DeliverInput
from callboard.schemas.workflow.proxy import SealedProxy
from callboard.schemas.workflow.run import QUEUE_TIMED_OUT, ErrorCode, ReasonType, RetryIntervals, RunStatus, RunSummary
from callboard.schemas.workflow.trace import TraceMode
from callboard.temporal.closing import wait_for_outcome
from tests.support.present import present
from tests.support.run_outcomes import assert_canceled, scheduled_of, status_in_lists
from tests.support.run_stage import HeldAttempt, RunStage, completed, ends, failed, scheduled, sealed_variables
from tests.support.shapes import Play, shapes_of
from tests.support.stage import WORKSPACE
from workflows import visibility

PROCESS_CRASHED = {
    "code": "script-process-crashed",
    "category": "infrastructure",
    "message": "The worker was stopped before the Attempt ended.",
}


# Attempts that end.


@pytest.mark.parametrize(
    ("shape", "attempts", "result"),
    [
        ("success", 1, '{"n": 1}'),
        ("success-announced", 1, "1"),
        ("retry", 3, "1"),
        ("unexpected-error", 2, "1"),  # an error of the activity itself counts as a failed Attempt
    ],
)
async def test_attempts_follow_each_other_until_one_succeeds(
    play: Play[RunStage], shape: str, attempts: int, result: str
):
    stage = await play(shape)
    assert (stage.outcome.status, stage.outcome.attempts, stage.outcome.error) == (RunStatus.COMPLETED, attempts, None)
    assert stage.outcome.result == JsonRef(text=result, size=len(result))
    assert (len(stage.inputs), stage.lost) == (attempts, [])


async def test_an_attempt_is_ordered_with_all_that_its_run_was_started_with(stage: RunStage):
    await stage.serve(ends(failed()), ends(completed()))
    proxy = SealedProxy(server="http://proxy.test:8080", username="sealed-1", password="sealed-2")
    parameters = JsonRef(key="runs/p/r/parameters-1.json", size=90_000)
    queue_timeout = timedelta(minutes=5)
    await stage.start(parameters=parameters, trace=TraceMode.NEVER, proxy=proxy, queue_timeout=queue_timeout)
    assert (await stage.ended()).status is RunStatus.COMPLETED
    assert [input.number for input in stage.inputs] == [1, 2]
    for input in stage.inputs:
        assert (input.workspace, input.run_id, input.project) == (WORKSPACE, stage.run_id, stage.project)
        assert (input.version, input.api, input.request_timeout.total_seconds()) == ("0123456789abcdef", "list", 600)
        assert (input.parameters, input.trace, input.proxy) == (parameters, TraceMode.NEVER, proxy)

    attempts = scheduled(await stage.events())
    assert [attempt.activity_id for attempt in attempts] == ["attempt-1", "attempt-2"]
    for attempt in attempts:
        assert attempt.task_queue.name == f"callboard-project-{stage.project}"
        assert attempt.retry_policy.maximum_attempts == 1
        assert attempt.heartbeat_timeout.ToTimedelta().total_seconds() == 30
        assert attempt.start_to_close_timeout.ToTimedelta().total_seconds() > 12 * 60 * 60
    # Only the wait for the first one is limited; the second one may wait for as long as it takes.
    assert [attempt.schedule_to_start_timeout.ToTimedelta() for attempt in attempts] == [queue_timeout, timedelta()]


LIMIT = "The Attempt was still running at the limit of 12 hours."
TOO_LONG = {"code": "script-timeout", "category": "execution", "message": LIMIT}
SECOND = {"code": "script-execution-exception", "category": "user", "message": "second"}


@pytest.mark.parametrize(
    ("shape", "code", "attempts", "details"),
    [
        ("all-failed", ErrorCode.API_ATTEMPTS_FAILED, 2, {"attempts_count": 2, "last_error": SECOND}),
        ("final", ErrorCode.RESULT_TOO_BIG, 1, None),
        ("cancel-as-it-fails-for-good", ErrorCode.RESULT_TOO_BIG, 1, None),  # it stands in spite of the cancel
        ("wall", ErrorCode.API_ATTEMPTS_FAILED, 1, {"attempts_count": 1, "last_error": TOO_LONG}),
        (
            "interrupted-again-and-again",
            *(ErrorCode.API_ATTEMPTS_FAILED, 4, {"attempts_count": 4, "last_error": PROCESS_CRASHED}),
        ),
        (
            "interrupted-at-most-once",
            *(ErrorCode.API_ATTEMPTS_FAILED, 1, {"attempts_count": 1, "last_error": PROCESS_CRASHED}),
        ),
    ],
)
async def test_a_run_fails_with_the_last_error_wrapped_unless_it_is_final(
    play: Play[RunStage], shape: str, code: ErrorCode, attempts: int, details: dict[str, Any] | None
):
    stage = await play(shape)
    assert stage.outcome.error
    assert (stage.outcome.status, stage.outcome.error.code) == (RunStatus.FAILED, code)
    assert (stage.outcome.attempts, stage.outcome.error.details) == (attempts, details)
    assert len(stage.inputs) == attempts
    assert [lost.number for lost in stage.lost] == (list(range(1, attempts + 1)) if "interrupted" in shape else [])
    assert await status_in_lists(stage) == "failed"
    failure = (await stage.events())[-1].workflow_execution_failed_event_attributes.failure
    assert failure.stack_trace == "", "it would be of our own code"


# Environment variables.


async def test_each_attempt_gets_the_variables_of_its_time(stage: RunStage):
    stage.on_collect = sealed_variables
    await stage.serve(ends(failed()), ends(completed()))
    await stage.start()
    assert (await stage.ended()).status is RunStatus.COMPLETED
    assert [present(input.variables).token for input in stage.inputs] == ["sealed for api 1", "sealed for api 2"]
    assert [input.number for input in stage.collected] == [1, 2]


async def test_no_variables_are_read_for_a_run_that_was_started_without_any(play: Play[RunStage]):
    stage = await play("without-variables")
    assert stage.outcome.status is RunStatus.COMPLETED
    assert [input.variables for input in stage.inputs] == [None, None]
    assert stage.collected == []


async def test_an_attempt_waits_for_a_store_that_is_away(play: Play[RunStage]):
    stage = await play("variables-when-the-store-is-back")
    assert stage.outcome.status is RunStatus.COMPLETED
    (input,) = stage.inputs
    assert present(input.variables).key == f"runs/p/{stage.run_id}/variables-1.sealed"


async def test_a_run_whose_variables_cannot_be_opened_fails_without_an_attempt(play: Play[RunStage]):
    stage = await play("variables-that-cannot-be-opened")
    error = present(stage.outcome.error)
    assert (stage.outcome.status, error.code) == (RunStatus.FAILED, ErrorCode.INTERNAL_SERVER_ERROR)
    assert error.message == "The Attempt could not begin: SealError: A sealed secret cannot be opened."
    assert stage.inputs == []


async def test_a_run_can_be_canceled_while_its_variables_are_collected(play: Play[RunStage]):
    stage = await play("cancel-while-variables-are-collected")
    assert_canceled(stage.outcome)
    assert (stage.outcome.attempts, stage.inputs) == (0, [])


async def test_a_run_that_finds_no_machine_within_its_queue_timeout_fails(play: Play[RunStage]):
    stage = await play("queued-too-long")
    assert stage.outcome.status is RunStatus.FAILED
    assert stage.outcome.error
    assert (stage.outcome.error.code, stage.outcome.error.retirable) == (ErrorCode.QUEUE_TIMEOUT, True)
    assert (stage.outcome.attempts, stage.outcome.started_at) == (0, None)
    assert stage.lost == [], "no worker was lost"


async def test_an_attempt_that_its_worker_had_no_room_for_in_time_took_a_number(stage: RunStage):
    outcome = failed().model_copy(update={"error": QUEUE_TIMED_OUT, "final": True, "started_at": datetime.now(UTC)})
    await stage.serve(ends(outcome))
    await stage.start(queue_timeout=timedelta(minutes=5))
    ended = await stage.ended()
    assert (ended.status, ended.error, ended.attempts) == (RunStatus.FAILED, QUEUE_TIMED_OUT, 1)
    assert ended.started_at is None
    assert stage.inputs[0].queue_timeout == timedelta(minutes=5)


async def test_a_run_whose_project_was_closed_meanwhile_is_canceled(play: Play[RunStage]):
    stage = await play("access-turned-off-while-it-waits")
    assert (stage.outcome.status, stage.outcome.attempts) == (RunStatus.CANCELED, 1)
    assert present(stage.outcome.reason).type is ReasonType.API_ACCESS_DISABLED
    with pytest.raises(WorkflowFailureError) as failure:
        await stage.handle.result()
    assert isinstance(failure.value.cause, ApplicationError)
    assert failure.value.cause.type == "api-access-disabled"


async def test_an_attempt_may_say_by_itself_that_it_was_canceled(stage: RunStage):
    held = HeldAttempt(stage)
    await stage.serve(held)
    await stage.start()
    held.end()
    stage.outcome = await wait_for_outcome(stage.handle)
    assert_canceled(stage.outcome)
    # Temporal lets only a workflow that was asked to cancel close as Canceled.
    assert (await stage.handle.describe()).status is WorkflowExecutionStatus.FAILED


# Attempts that are lost.


@pytest.mark.parametrize(
    ("shape", "attempts", "cause"),
    [
        ("interrupted-once", 3, "The worker was stopped before the Attempt ended."),  # of at most two Attempts
        ("worker-lost", 2, "The worker that ran the Attempt was lost."),
        ("record-not-written", 2, "The worker was stopped before the Attempt ended."),
    ],
)
async def test_an_interrupted_attempt_takes_a_number_and_does_not_count(
    play: Play[RunStage], shape: str, attempts: int, cause: str
):
    stage = await play(shape)
    assert (stage.outcome.status, stage.outcome.attempts) == (RunStatus.COMPLETED, attempts)
    assert {(lost.run_id, lost.project, lost.number) for lost in stage.lost} == {(stage.run_id, stage.project, 1)}
    assert {lost.cause for lost in stage.lost} == {cause}
    assert (len(stage.lost) > 1) is (shape == "record-not-written"), "it is tried more than once"
    # A Run that has begun goes before one that has not.
    priorities = [attempt.priority.priority_key for attempt in await scheduled_of(stage, names.ATTEMPT)]
    assert priorities == [names.PRIORITY_PENDING, *[names.PRIORITY_STARTED] * (attempts - 1)]
    (record,) = await scheduled_of(stage, names.RECORD_INTERRUPTED)
    assert record.priority.priority_key == names.PRIORITY_STARTED


async def test_an_outcome_that_was_stored_before_the_worker_was_lost_stands(play: Play[RunStage]):
    stage = await play("lost-after-it-completed")
    assert (stage.outcome.status, stage.outcome.attempts) == (RunStatus.COMPLETED, 1)
    assert stage.outcome.result == JsonRef(text='"stored"', size=8)
    execution_id = (await stage.handle.describe()).run_id
    assert [(lost.number, lost.execution_id) for lost in stage.lost] == [(1, execution_id)]
    assert len(stage.inputs) == 1


async def test_a_failure_that_was_stored_before_the_worker_was_lost_counts(play: Play[RunStage]):
    stage = await play("lost-after-it-failed")  # of at most two Attempts
    assert stage.outcome.error
    assert (stage.outcome.error.code, stage.outcome.error.message) == (ErrorCode.API_ATTEMPTS_FAILED, "second")
    assert [input.number for input in stage.inputs] == [1, 2]


# Attempts that are waited for.


async def waits(stage: RunStage) -> list[float]:
    """The timers of the Run, in seconds."""
    return [
        event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta().total_seconds()
        for event in await stage.events()
        if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED
    ]


@pytest.mark.parametrize(
    ("shape", "status", "attempts", "expected"),
    [
        ("waits-for-longer-and-longer", RunStatus.COMPLETED, 5, [60, 180, 300]),  # a lost Attempt is made again at once
        ("retry-later", RunStatus.COMPLETED, 3, [120]),
        ("retry-later-for-the-last-time", RunStatus.FAILED, 1, []),
        ("retry", RunStatus.COMPLETED, 3, []),
    ],
)
async def test_a_run_waits_before_another_attempt_as_its_start_or_user_code_says(
    play: Play[RunStage], shape: str, status: RunStatus, attempts: int, expected: list[float]
):
    stage = await play(shape)
    assert (stage.outcome.status, stage.outcome.attempts, len(stage.inputs)) == (status, attempts, attempts)
    assert await waits(stage) == expected
    is_marked = EventType.EVENT_TYPE_MARKER_RECORDED in {event.event_type for event in await stage.events()}
    assert is_marked or not expected


async def test_a_wait_says_until_when_and_a_cancel_ends_it(stage: RunStage):
    await stage.serve(ends(failed()), ends(completed()))
    await stage.start(retry_intervals=RetryIntervals(initial_interval=timedelta(hours=24)))
    await stage.until("TIMER_STARTED")
    began = [event for event in await stage.events() if event.HasField("workflow_task_started_event_attributes")]
    summary = await (await stage.handle.describe()).memo_value(names.MEMO_SUMMARY, type_hint=RunSummary)
    until = present(summary.waits_until)
    wait = until - began[-1].event_time.ToDatetime(UTC)  # Temporal has nanoseconds
    assert (summary.attempts, round(wait.total_seconds(), 3)) == (1, 86_400)
    assert (await details(stage)).startswith(f"Attempt 2 is next, at {until:%Y-%m-%d %H:%M:%S} UTC\n\nAttempt 1")
    assert await status_in_lists(stage) == "started"
    await stage.cancel()
    stage.outcome = await stage.ended()
    assert_canceled(stage.outcome)
    assert len(stage.inputs) == 1


@pytest.mark.parametrize(
    ("intervals", "failures", "seconds"),
    [
        (RetryIntervals(), 1, 0),
        (RetryIntervals(), 99, 0),
        (RetryIntervals(initial_interval=timedelta(seconds=0.5)), 3, 2),
        (RetryIntervals(initial_interval=timedelta(seconds=7), backoff_coefficient=1), 50, 7),
        (RetryIntervals(initial_interval=timedelta(hours=2), maximum_interval=timedelta(hours=1)), 1, 3600),
        (RetryIntervals(initial_interval=timedelta(hours=24), backoff_coefficient=100), 99, 86_400),
    ],
)
def test_a_wait_is_never_longer_than_the_longest(intervals: RetryIntervals, failures: int, seconds: float):
    assert intervals.after(failures).total_seconds() == seconds


# Results that are delivered.


async def deliveries(stage: RunStage) -> list[DeliverInput]:
    """What the Run has handed over, by its history."""
    initiated = [
        event.start_child_workflow_execution_initiated_event_attributes
        for event in await stage.events()
        if event.event_type == EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED
    ]
    for child in initiated:
        assert child.workflow_type.name == names.DELIVER
        assert child.workflow_id == f"{stage.run_id}:sink"
        assert child.task_queue.name == "callboard-deliveries"
        assert child.parent_close_policy == ParentClosePolicy.PARENT_CLOSE_POLICY_ABANDON
    converter = stage.client.data_converter
    return [(await converter.decode(child.input.payloads, [DeliverInput]))[0] for child in initiated]


async def test_the_result_is_handed_over_to_a_delivery_that_outlives_the_run(play: Play[RunStage]):
    stage = await play("handed-over")
    (input,) = await deliveries(stage)
    assert (input.run_id, input.project, input.api) == (stage.run_id, stage.project, "list")
    assert present(input.sink.webhook).url == "https://hook.example"
    child = await stage.client.get_workflow_handle(f"{stage.run_id}:sink").describe()
    assert child.status is WorkflowExecutionStatus.RUNNING
    assert await child.memo() == {"workspace": WORKSPACE, "project": stage.project, "sink": input.sink.masked()}
    assert child.typed_search_attributes[visibility.PROJECT] == stage.project, "it ends with its project"


@pytest.mark.parametrize(
    ("shape", "count"),
    [
        ("queued-too-long", 1),
        ("handed-over-failed", 1),
        ("handed-over-as-it-is-canceled", 1),  # too late
        ("not-handed-over-failed", 0),  # as the sink does not want it
        ("not-handed-over-canceled", 0),
    ],
)
async def test_a_failure_is_handed_over_if_it_is_wanted_and_a_cancel_never(
    play: Play[RunStage], shape: str, count: int
):
    assert len(await deliveries(await play(shape))) == count


# Cancel.


@pytest.mark.parametrize(
    ("shape", "attempts", "executed", "stopped"),
    [
        ("cancel-with-the-start", 0, 0, []),
        ("cancel-queued", 0, 0, []),
        ("cancel-running", 1, 1, [1]),
        ("cancel-before-the-announcement", 1, 1, [1]),  # as soon as the Attempt says where it is
        ("cancel-heard-by-heartbeat", 0, 1, []),
        ("cancel-never-announced", 0, 1, []),
        ("cancel-while-the-loss-is-recorded", 1, 1, []),
        ("cancel-between-attempts", 1, 1, []),
        ("cancel-while-it-waits", 1, 1, []),
        ("cancel-just-before-it-fails", 1, 1, []),
    ],
)
async def test_a_cancel_stops_the_attempt_where_it_is_and_no_other_follows(
    play: Play[RunStage], shape: str, attempts: int, executed: int, stopped: list[int]
):
    stage = await play(shape)
    assert_canceled(stage.outcome)
    assert (stage.outcome.attempts, len(stage.inputs)) == (attempts, executed)
    assert await status_in_lists(stage) == "canceled"
    assert stage.stops == [StopInput(run_id=stage.run_id, number=number) for number in stopped]


async def test_a_cancel_ends_also_when_the_worker_is_gone(play: Play[RunStage]):
    stage = await play("cancel-worker-gone")
    assert_canceled(stage.outcome)
    assert [lost.number for lost in stage.lost] == [1]
    stop = (await scheduled_of(stage, names.STOP_ATTEMPT))[0]
    assert stop.schedule_to_close_timeout.ToTimedelta().total_seconds() == 2
    assert stop.retry_policy.maximum_attempts == 1


@pytest.mark.parametrize("shape", ["cancel-of-no-avail", "cancel-as-it-completes", "cancel-just-before-it-completes"])
async def test_an_attempt_that_completes_in_spite_of_a_cancel_stands(play: Play[RunStage], shape: str):
    stage = await play(shape)
    assert stage.outcome.status is RunStatus.COMPLETED
    assert stage.outcome.result == JsonRef(text="1", size=1)


# What others see.


async def details(stage: RunStage) -> str:
    metadata = await stage.handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    return metadata.current_details


async def test_the_status_and_what_the_web_ui_tells_follow_the_run(stage: RunStage):
    first, second = HeldAttempt(stage, announced=True), HeldAttempt(stage, announced=True)
    await stage.serve_runs()
    await stage.start(maximum_attempts=2)
    await stage.until("ACTIVITY_TASK_SCHEDULED")
    assert await status_in_lists(stage) == "pending"
    await stage.serve_attempts(first, second)
    await first.began.wait()
    await stage.until("UPSERT_WORKFLOW_SEARCH_ATTRIBUTES")
    assert await status_in_lists(stage) == "started"
    assert await details(stage) == f"Attempt 1 runs on Machine {stage.project}-1 (worker {stage.worker})"
    first.end(failed())
    await second.began.wait()
    await stage.until("WORKFLOW_TASK_COMPLETED", 4)
    assert await status_in_lists(stage) == "started"
    where = f"Attempt 2 runs on Machine {stage.project}-1 (worker {stage.worker})"
    assert await details(stage) == f"{where}\n\nAttempt 1 failed:\n\n```\nthe price is missing\n```"
    second.end(completed())
    await stage.ended()
    assert await status_in_lists(stage) == "completed"
    assert await details(stage) == "Completed after 2 Attempt(s)"


async def test_what_a_former_attempt_says_too_late_is_not_believed(stage: RunStage):
    second = HeldAttempt(stage, announced=True)
    await stage.serve(ends(failed()), second)
    await stage.start()
    await second.began.wait()
    await stage.announce(1)
    await stage.until("WORKFLOW_EXECUTION_SIGNALED", 2)
    assert (await details(stage)).startswith("Attempt 2 runs on Machine")
    second.end(completed())
    await stage.ended()


async def test_a_history_holds_no_more_than_it_must(play: Play[RunStage]):
    stage = await play("success")
    assert len(await stage.events()) <= 13


def test_every_shape_is_known_by_a_test():
    """Each of them is in a test, so that none is recorded without a word on what it must come to."""
    here = Path(__file__)
    text = "".join(here.with_name(f"test_{name}.py").read_text() for name in ("run", "handoffs", "alerts"))
    assert [shape for shape in shapes_of(RunStage) if f'"{shape}"' not in text] == []
