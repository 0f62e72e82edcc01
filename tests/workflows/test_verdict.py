"""What the end of an Attempt means for its Run, row by row."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    RetryState,
    TerminatedError,
    TimeoutError,  # noqa: A004
    TimeoutType,
)

from contract.flow.attempt import INTERRUPTED, AttemptOutcome, AttemptStatus
from contract.flow.base import MESSAGE_LIMIT, JsonText
from contract.flow.run import ErrorCode, ReasonType, RunError, RunOutcome, RunReason, RunStatus
from workflows import verdict

ERROR = RunError(
    code=ErrorCode.SCRIPT_TIMEOUT,
    category="execution",
    message="The Attempt took longer than 3 seconds.",
    retirable=True,
    details={"seconds": 3},
)


def activity_error(cause: BaseException) -> ActivityError:
    error = ActivityError(
        "Activity task failed",
        scheduled_event_id=5,
        started_event_id=6,
        identity="worker",
        activity_type="attempt",
        activity_id="attempt-1",
        retry_state=RetryState.MAXIMUM_ATTEMPTS_REACHED,
    )
    error.__cause__ = cause
    return error


def timeout(kind: TimeoutType) -> TimeoutError:
    details: Sequence[object] = []
    return TimeoutError("activity timed out", type=kind, last_heartbeat_details=details)


def failed(error: RunError | None = ERROR, *, final: bool = False) -> AttemptOutcome:
    return AttemptOutcome(status=AttemptStatus.FAILED, error=error, final=final)


def test_completed() -> None:
    result, payloads = (
        JsonText(text="[1]", size=3),
        JsonText(key="runs/p/r/attempts/2/extended-payloads.json", size=50_000),
    )
    ended = AttemptOutcome(status=AttemptStatus.COMPLETED, result=result, extended_payloads=payloads)
    assert verdict.completed(ended, 2) == RunOutcome(
        status=RunStatus.COMPLETED, result=result, extended_payloads=payloads, attempts=2
    )


def test_canceled() -> None:
    reason = RunReason(type=ReasonType.CANCELLED_USER_ACTION, message="The Run was canceled by request.")
    assert verdict.canceled(3) == RunOutcome(status=RunStatus.CANCELED, reason=reason, attempts=3)


def test_a_failure_for_good_is_the_attempts_own() -> None:
    assert verdict.failed_for_good(failed(final=True), 1) == RunOutcome(
        status=RunStatus.FAILED, error=ERROR, attempts=1
    )


def test_failed_attempts_are_wrapped_with_the_last_error_inside() -> None:
    outcome = verdict.attempts_failed(failed(), 4)
    assert (outcome.status, outcome.attempts) == (RunStatus.FAILED, 4)
    assert outcome.error == RunError(
        code=ErrorCode.API_ATTEMPTS_FAILED,
        category="execution",
        message=ERROR.message,
        retirable=True,
        details={
            "attempts_count": 4,
            "last_error": {"code": "script-timeout", "category": "execution", "message": ERROR.message},
        },
    )


def test_a_failure_without_an_error_is_a_defect_that_does_not_pass_unseen() -> None:
    with pytest.raises(ValueError, match="has no error"):
        verdict.failed_for_good(failed(None), 1)


def test_an_activity_that_was_cancelled_is_a_canceled_attempt() -> None:
    assert verdict.of_lost_attempt(activity_error(CancelledError("Cancelled"))) == AttemptOutcome(
        status=AttemptStatus.CANCELED
    )


@pytest.mark.parametrize("kind", [TimeoutType.HEARTBEAT, TimeoutType.SCHEDULE_TO_START, TimeoutType.SCHEDULE_TO_CLOSE])
def test_an_activity_that_is_heard_of_no_more_is_an_interrupted_attempt(kind: TimeoutType) -> None:
    outcome = verdict.of_lost_attempt(activity_error(timeout(kind)))
    assert outcome.status is AttemptStatus.INTERRUPTED
    assert outcome.error
    assert (outcome.error.code, outcome.error.category) == (ErrorCode.SCRIPT_PROCESS_CRASHED, "infrastructure")
    assert outcome.error.message == "The worker that ran the Attempt was lost."
    assert outcome.error.retirable
    assert not outcome.final


def test_an_activity_that_its_worker_gave_up_is_an_interrupted_attempt() -> None:
    outcome = verdict.of_lost_attempt(activity_error(ApplicationError("It drained.", type=INTERRUPTED)))
    assert outcome.status is AttemptStatus.INTERRUPTED
    assert outcome.error
    assert (outcome.error.code, outcome.error.message) == (ErrorCode.SCRIPT_PROCESS_CRASHED, "It drained.")


def test_an_activity_at_the_wall_is_a_failed_attempt_that_took_too_long() -> None:
    outcome = verdict.of_lost_attempt(activity_error(timeout(TimeoutType.START_TO_CLOSE)))
    assert outcome.status is AttemptStatus.FAILED
    assert outcome.error
    assert (outcome.error.code, outcome.error.category) == (ErrorCode.SCRIPT_TIMEOUT, "execution")
    assert "12 hours" in outcome.error.message


@pytest.mark.parametrize("cause", [ApplicationError("a defect", type="ValueError"), TerminatedError("terminated")])
def test_any_other_end_of_the_activity_is_a_failed_attempt(cause: BaseException) -> None:
    outcome = verdict.of_lost_attempt(activity_error(cause))
    assert outcome.status is AttemptStatus.FAILED
    assert outcome.error
    assert (outcome.error.code, outcome.error.category) == (ErrorCode.INTERNAL_SERVER_ERROR, "infrastructure")
    assert str(cause) in outcome.error.message
    assert not outcome.final


def test_what_an_activity_died_of_is_kept_short() -> None:
    outcome = verdict.of_lost_attempt(activity_error(ApplicationError("x" * 50_000, type="ValueError")))
    assert outcome.error
    assert len(outcome.error.message) <= MESSAGE_LIMIT


def told(kind: str, *details: object) -> ActivityError:
    return activity_error(ApplicationError("said its worker", *details, type=kind))


@pytest.mark.parametrize(
    ("error", "of"),
    [
        (told(INTERRUPTED, "run-v1", 1), "run-v1"),
        (told(INTERRUPTED), None),
        (told("AttemptFailed", "run-v1", 1), None),
        (activity_error(timeout(TimeoutType.HEARTBEAT)), None),
    ],
    ids=["said", "by-an-older-worker", "another-error", "heard-of-no-more"],
)
def test_whose_attempt_was_lost_is_known_if_its_worker_has_said_so(error: ActivityError, of: str | None) -> None:
    assert verdict.lost_run(error) == of


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (told(INTERRUPTED, "run-v1", 1), True),
        (activity_error(timeout(TimeoutType.HEARTBEAT)), True),
        (activity_error(timeout(TimeoutType.START_TO_CLOSE)), False),
        (activity_error(CancelledError()), False),
        (told("AttemptFailed"), False),
    ],
    ids=["said", "heard-of-no-more", "wall", "canceled", "failed"],
)
def test_what_is_lost_is_not_what_has_an_end(error: ActivityError, *, lost: bool) -> None:
    assert verdict.is_lost(error) is lost


def test_an_activity_that_a_worker_does_not_know_is_none_that_failed() -> None:
    assert verdict.is_unknown_activity(told("NotFoundError"))
    assert not verdict.is_unknown_activity(told("AttemptFailed"))
    assert not verdict.is_unknown_activity(activity_error(timeout(TimeoutType.HEARTBEAT)))
