"""What the end of an Attempt means for its Run, row by row."""

from collections.abc import Sequence

import pytest
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    RetryState,
    TerminatedError,
    TimeoutError,  # noqa: A004
    TimeoutType,
)

from callboard.schemas.workflow.attempt import INTERRUPTED, AttemptOutcome, AttemptStatus
from callboard.schemas.workflow.base import HEADLINE_LIMIT, MESSAGE_LIMIT
from callboard.schemas.workflow.run import ErrorCode, ReasonType, RunCause, RunError, RunOutcome, RunReason, RunStatus
from tests.support.present import present
from workflows import auth_outcomes, outcomes

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


def test_a_failure_says_in_short_what_its_outcome_says_in_full():
    outcome = outcomes.failed_with(ERROR.model_copy(update={"message": "x" * MESSAGE_LIMIT}), 1)
    with pytest.raises(ApplicationError) as caught:
        outcomes.close(outcome, cancel_requested=False)
    assert (len(caught.value.message), caught.value.details) == (HEADLINE_LIMIT, (outcome,))


LOST = "The worker that ran the Attempt was lost."
FAILED, INTERRUPTED_ATTEMPT = AttemptStatus.FAILED, AttemptStatus.INTERRUPTED


@pytest.mark.parametrize(
    ("cause", "status", "code", "category", "message"),
    [
        (timeout(TimeoutType.SCHEDULE_TO_START), FAILED, ErrorCode.QUEUE_TIMEOUT, "infrastructure", ""),
        (timeout(TimeoutType.START_TO_CLOSE), FAILED, ErrorCode.SCRIPT_TIMEOUT, "execution", "12 hours"),
        *(
            (timeout(kind), INTERRUPTED_ATTEMPT, ErrorCode.SCRIPT_PROCESS_CRASHED, "infrastructure", LOST)
            for kind in (TimeoutType.HEARTBEAT, TimeoutType.SCHEDULE_TO_CLOSE)
        ),
        (
            *(ApplicationError("It drained.", type=INTERRUPTED), INTERRUPTED_ATTEMPT),
            *(ErrorCode.SCRIPT_PROCESS_CRASHED, "infrastructure", "It drained."),
        ),
        *(
            (cause, FAILED, ErrorCode.INTERNAL_SERVER_ERROR, "infrastructure", str(cause)[:100])
            for cause in (ApplicationError("x" * 50_000, type="ValueError"), TerminatedError("terminated"))
        ),
    ],
)
def test_what_becomes_of_an_attempt_whose_activity_failed(
    cause: BaseException, status: AttemptStatus, code: ErrorCode, category: str, message: str
):
    outcome = outcomes.from_activity_error(activity_error(cause))
    error = present(outcome.error)
    assert (outcome.status, error.code, error.category) == (status, code, category)
    assert message in error.message
    assert len(error.message) <= MESSAGE_LIMIT
    assert error.retirable or code is not ErrorCode.SCRIPT_PROCESS_CRASHED
    assert outcome.final is (code is ErrorCode.QUEUE_TIMEOUT)


def test_an_activity_that_was_cancelled_is_a_canceled_attempt():
    canceled = AttemptOutcome(status=AttemptStatus.CANCELED)
    assert outcomes.from_activity_error(activity_error(CancelledError("Cancelled"))) == canceled


# How a Run closes its workflow.

NOT_VALIDATED = RunReason(type=ReasonType.VALIDATE_FAILED, message="The AuthSession could not be validated: expired")
CANCELED = RunReason(type=ReasonType.CANCELLED_USER_ACTION, message="The Run was canceled by request.")


def told(*details: object) -> ActivityError:
    return activity_error(ApplicationError("said its worker", *details, type=INTERRUPTED))


@pytest.mark.parametrize(
    ("error", "number"),
    [(told("run-v1", 2), 3), (told("run-v1", 5), 5), (told(), 3), (activity_error(timeout(TimeoutType.HEARTBEAT)), 3)],
    ids=["early", "beyond-the-last", "by-an-older-worker", "heard-of-no-more"],
)
def test_the_number_of_a_lost_try_is_the_last_one_that_can_have_been_taken(error: ActivityError, number: int):
    """A check that was reset, or paused on its last try, is tried beyond the number that was allowed."""
    result = auth_outcomes.from_activity_error(error, last_started=1, last_allowed=3)
    assert (result.status, result.number) == (AttemptStatus.INTERRUPTED, number)


def child_error(cause: BaseException) -> ChildWorkflowError:
    error = ChildWorkflowError(
        "Child Workflow execution failed",
        namespace="default",
        workflow_id="run-v1",
        run_id="0",
        workflow_type="Validate",
        initiated_event_id=5,
        started_event_id=6,
        retry_state=RetryState.MAXIMUM_ATTEMPTS_REACHED,
    )
    error.__cause__ = cause
    return error


def closed_as(outcome: RunOutcome, *, cancel_requested: bool = False) -> ApplicationError:
    with pytest.raises(ApplicationError) as raised:
        outcomes.close(outcome, cancel_requested=cancel_requested)
    return raised.value


@pytest.mark.parametrize("cancel_requested", [False, True])
def test_a_run_canceled_by_nobody_fails_with_the_type_of_its_reason(*, cancel_requested: bool):
    outcome = RunOutcome(status=RunStatus.CANCELED, reason=NOT_VALIDATED)
    assert closed_as(outcome, cancel_requested=cancel_requested).type == "auth-session-validate-dependency-failed"


def test_a_canceled_run_whose_workflow_was_not_asked_to_cancel_fails_it():
    """Temporal lets no such workflow close as Canceled."""
    assert closed_as(RunOutcome(status=RunStatus.CANCELED, reason=CANCELED)).type == "cancelled-user-action"


@pytest.mark.parametrize(
    "failure",
    [None, ApplicationError("a defect"), ApplicationError("a defect", {"status": 1}), TerminatedError("terminated")],
    ids=["none", "no-details", "other-details", "terminated"],
)
def test_a_failure_that_carries_no_outcome_has_none(failure: BaseException | None):
    assert outcomes.outcome_of_failure(failure, RunOutcome) is None


@pytest.mark.parametrize(
    ("cause", "reason"),
    [(CancelledError("canceled"), "cancelled-user-action"), (TerminatedError("terminated"), "terminated")],
)
def test_a_child_that_was_ended_from_outside_is_canceled(cause: BaseException, reason: str):
    outcome = outcomes.from_child_error(child_error(cause))
    assert outcome.status is RunStatus.CANCELED
    assert present(outcome.reason).type.value == reason


def test_a_child_that_failed_without_an_outcome_is_an_error_of_ours():
    outcome = outcomes.from_child_error(child_error(ApplicationError("x" * 50_000)))
    assert outcome.error
    assert outcome.error.code is ErrorCode.INTERNAL_SERVER_ERROR
    assert len(outcome.error.message) <= MESSAGE_LIMIT


def test_lists_show_in_short_why_a_run_did_not_complete():
    assert outcomes.cause_of(RunOutcome(status=RunStatus.COMPLETED)) is None
    why = outcomes.cause_of(RunOutcome(status=RunStatus.CANCELED, reason=CANCELED))
    assert why == RunCause(code="cancelled-user-action", message=CANCELED.message)
    long = ERROR.model_copy(update={"message": "x" * 50_000})
    short = outcomes.cause_of(RunOutcome(status=RunStatus.FAILED, error=long))
    assert short
    assert (short.code, len(short.message)) == ("script-timeout", 300)
