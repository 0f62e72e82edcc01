"""The shapes of a Run whose checks are made by the workers that take its Attempts, right before them."""

from __future__ import annotations

from typing import Any

from temporalio.exceptions import ApplicationError

from contract.flow import names
from contract.flow.attempt import AUTH_SESSION_GONE, INTERRUPTED, AttemptOutcome, AttemptStatus
from contract.flow.auth import AuthOrder, AuthSessionStatus
from tests.workflows.login_shapes import Kind, Shape, kept_in
from tests.workflows.logins import AT, LoginStage, bad, good, stops
from tests.workflows.scripted import Gone, Held, Part, completed, ends, failed, raises

AFTER_CHECK_SHAPES: dict[str, Shape] = {}

_shape = kept_in(AFTER_CHECK_SHAPES)


def interruption(run_id: str) -> ApplicationError:
    """The worker was lost in the first Attempt of this Run, as the one says that comes after."""
    return ApplicationError(
        "The worker that ran the Attempt was lost.", run_id, 1, type=INTERRUPTED, non_retryable=True
    )


def first_validate(stage: LoginStage) -> str:
    """The Validate before the first Attempt."""
    return names.validate_run_id(stage.run_id, 1)


def auth(stage: LoginStage, **fields: Any) -> AuthOrder:
    """What a Run is ordered with whose checks are made with its Attempts."""
    return stage.auth(check_with_attempt=True, **fields)


async def _play(stage: LoginStage, *parts: Part, maximum_attempts: int = 3, **fields: Any) -> None:
    """To the end of the Run."""
    await stage.serve(*parts)
    await stage.bring_up()
    await stage.start(auth=auth(stage, **fields), maximum_attempts=maximum_attempts)
    stage.outcome = await stage.ended()


async def _begin(stage: LoginStage, held: Held | Gone, *parts: Part, maximum_attempts: int = 3) -> None:
    """Until the Run has come to what is held."""
    await stage.serve(*parts)
    await stage.bring_up()
    await stage.start(auth=auth(stage), maximum_attempts=maximum_attempts)
    await held.began.wait()


async def begin_announced(stage: LoginStage, held: Held | Gone, *parts: Part) -> None:
    """Until the Run has started the Validate of a check that was announced."""
    stage.checks.append(held)
    await _begin(stage, held, *parts)
    await stage.until("CHILD_WORKFLOW_EXECUTION_STARTED")


# A check that is good.


@_shape(Kind.RUN, Kind.VALIDATE)
async def good_at_once(stage: LoginStage) -> None:
    """The worker starts the Validate, before the Attempt is over."""
    stage.valid = {1}
    await _play(stage, ends(completed()))
    await stage.outcome_of(first_validate(stage))


@_shape(Kind.RUN, Kind.VALIDATE)
async def good_at_once_but_not_recorded(stage: LoginStage) -> None:
    """The worker could not start the Validate."""
    stage.valid, stage.unrecorded = {1}, {1}
    await _play(stage, ends(completed()))


@_shape(Kind.RUN, Kind.VALIDATE)
async def good_after_a_moment(stage: LoginStage) -> None:
    check = Held(stage, announced=True)
    await begin_announced(stage, check, ends(completed()))
    check.end(good())
    stage.outcome = await stage.ended()


@_shape(Kind.RUN)
async def good_before_each_attempt(stage: LoginStage) -> None:
    stage.valid = {1}
    await _play(stage, ends(failed()), ends(completed()))


@_shape(Kind.RUN)
async def good_but_the_session_is_deleted_before_the_attempt(stage: LoginStage) -> None:
    stage.valid = {1}
    gone = ApplicationError("It was deleted.", type=AUTH_SESSION_GONE, non_retryable=True)
    await _play(stage, raises(gone), ends(completed()))


@_shape(Kind.RUN, Kind.VALIDATE)
async def good_on_an_older_worker(stage: LoginStage) -> None:
    """It knows nothing of checks that are made with Attempts."""
    stage.valid, stage.older_worker = {1}, True
    await _play(stage, ends(completed()))


# A check that is not.


@_shape(Kind.RUN, Kind.VALIDATE, Kind.CREATE, Kind.SESSION)
async def first_check_bad_and_made_anew(stage: LoginStage) -> None:
    await _play(stage, ends(completed()), check_attempts=1)


@_shape(Kind.RUN, Kind.VALIDATE)
async def first_check_bad_and_second_good(stage: LoginStage) -> None:
    stage.valid = {1}
    stage.checks.append(ends(bad()))
    await _play(stage, ends(completed()))


@_shape(Kind.RUN, Kind.VALIDATE)
async def first_check_bad_after_a_moment(stage: LoginStage) -> None:
    """And the second one good."""
    stage.valid = {1}
    check = Held(stage, announced=True)
    await begin_announced(stage, check, ends(completed()))
    check.end(bad())
    stage.outcome = await stage.ended()


@_shape(Kind.RUN, Kind.VALIDATE)
async def first_check_bad_and_left_so(stage: LoginStage) -> None:
    await _play(stage, ends(completed()), check_attempts=1, auto_recreate=False)
    await stage.until_status(AuthSessionStatus.EXPIRED)


@_shape(Kind.RUN, Kind.VALIDATE)
async def first_check_without_a_login(stage: LoginStage) -> None:
    await stage.serve(ends(completed()))
    await stage.bring_up(status=AuthSessionStatus.EXPIRED, login=0, state_key=None)
    await stage.start(auth=auth(stage))
    stage.outcome = await stage.ended()


@_shape(Kind.RUN, Kind.VALIDATE)
async def first_check_without_a_session(stage: LoginStage) -> None:
    await stage.serve(ends(completed()))
    await stage.start(auth=auth(stage))
    stage.outcome = await stage.ended()


@_shape(Kind.RUN, Kind.VALIDATE)
async def first_check_cannot_be_called(stage: LoginStage) -> None:
    stage.checks.append(ends(bad(message="check.py has no function `check`", final=True)))
    await _play(stage, ends(completed()))


# A worker that is lost.


@_shape(Kind.RUN, Kind.VALIDATE)
async def lost_in_the_first_check(stage: LoginStage) -> None:
    """Of a Run that executes its Attempt at most once: it has not begun."""
    stage.valid = {1}
    stage.checks.append(raises(interruption(first_validate(stage))))
    await _play(stage, ends(completed()), maximum_attempts=1)


@_shape(Kind.RUN, Kind.VALIDATE, passes_time=True)
async def lost_in_the_first_check_after_a_moment(stage: LoginStage) -> None:
    """Nobody says so but the heartbeat; but nobody has said either that the check was good."""
    stage.valid = {1}
    gone = Gone(stage, announced=True)
    await begin_announced(stage, gone, ends(completed()))
    await stage.pass_time(seconds=31, held=True)
    stage.outcome = await stage.ended()


@_shape(Kind.RUN)
async def lost_in_the_attempt_after_its_check(stage: LoginStage) -> None:
    """Its worker was lost before it had started the Validate."""
    stage.valid, stage.unrecorded = {1}, {1}
    await _play(stage, raises(interruption(stage.run_id)), ends(completed()))


@_shape(Kind.RUN)
async def lost_in_the_attempt_and_the_login_is_bad(stage: LoginStage) -> None:
    """By the time that it is checked again."""
    stage.checks.append(ends(good()))
    stage.unrecorded = {1}
    await _play(stage, raises(interruption(stage.run_id)), ends(completed()), auto_recreate=False, check_attempts=1)


@_shape(Kind.RUN, passes_time=True)
async def lost_in_an_attempt_that_was_announced(stage: LoginStage) -> None:
    """Nobody says so but the heartbeat, and by then the login is bad."""
    gone = Gone(stage, announced=True)
    stage.checks.append(ends(good()))
    stage.unrecorded = {1}
    await stage.serve(gone, ends(completed()))
    await stage.bring_up()
    await stage.start(auth=auth(stage, auto_recreate=False), maximum_attempts=1)
    await gone.began.wait()
    await stage.pass_time(seconds=31, held=True)
    stage.outcome = await stage.ended()


@_shape(Kind.RUN, Kind.VALIDATE, passes_time=True)
async def lost_in_the_attempt_after_a_moment(stage: LoginStage) -> None:
    """The Run was told that its check was good."""
    stage.valid = {1}
    check, gone = Held(stage, announced=True), Gone(stage)
    await begin_announced(stage, check, gone, ends(completed()))
    check.end(good())
    await gone.began.wait()
    await stage.pass_time(seconds=31, held=True)
    stage.outcome = await stage.ended()


@_shape(Kind.RUN, Kind.VALIDATE, passes_time=True)
async def lost_in_one_of_the_two(stage: LoginStage) -> None:
    """Nobody knows in which."""
    stage.valid = {1}
    gone = Gone(stage)
    stage.checks.append(gone)
    await _begin(stage, gone, ends(completed()), ends(completed()))
    await stage.pass_time(seconds=31, held=True)
    stage.outcome = await stage.ended()


@_shape(Kind.RUN, passes_time=True)
async def lost_in_one_of_the_two_at_most_once(stage: LoginStage) -> None:
    stage.valid = {1}
    gone = Gone(stage)
    stage.checks.append(gone)
    await _begin(stage, gone, ends(completed()), maximum_attempts=1)
    await stage.pass_time(seconds=31, held=True)
    stage.outcome = await stage.ended()


@_shape(Kind.RUN, passes_time=True)
async def lost_when_it_had_started_the_validate(stage: LoginStage) -> None:
    stage.valid = {1}
    gone = Gone(stage)
    await _begin(stage, gone, gone, ends(completed()))
    await stage.pass_time(seconds=31, held=True)
    stage.outcome = await stage.ended()


@_shape(Kind.RUN, Kind.VALIDATE)
async def lost_in_the_first_check_as_it_is_canceled(stage: LoginStage) -> None:
    """Nobody takes the order to stop; in the end the worker that comes after says that the check is lost."""
    gone = Gone(stage, announced=True)
    await begin_announced(stage, gone, ends(completed()))
    await stage.cancel()
    await stage.until("ACTIVITY_TASK_CANCEL_REQUESTED")
    handle = stage.client.get_async_activity_handle(task_token=gone.token)
    await handle.fail(interruption(first_validate(stage)))
    stage.outcome = await stage.ended()


# A cancel.


@_shape(Kind.RUN)
async def canceled_before_the_first_check(stage: LoginStage) -> None:
    """Both are queued."""
    await stage.serve_runs()
    await stage.bring_up()
    await stage.start(auth=auth(stage))
    await stage.until("ACTIVITY_TASK_SCHEDULED")
    await stage.cancel()
    stage.outcome = await stage.ended()


@_shape(Kind.RUN, Kind.VALIDATE)
async def canceled_in_the_first_check(stage: LoginStage) -> None:
    """That says nothing of its start; it hears of the cancel by heartbeat."""
    check = Held(stage, beats=True)
    stage.checks.append(check)
    await _begin(stage, check, ends(completed()))
    await stage.cancel()
    stage.outcome = await stage.ended()


@_shape(Kind.RUN, Kind.VALIDATE)
async def canceled_in_the_first_check_after_a_moment(stage: LoginStage) -> None:
    check = Held(stage, announced=True)
    stops(stage, check)
    await begin_announced(stage, check, ends(completed()))
    await stage.cancel()
    stage.outcome = await stage.ended()


@_shape(Kind.RUN, Kind.VALIDATE)
async def canceled_as_its_first_check_is_bad(stage: LoginStage) -> None:
    check = Held(stage, announced=True)

    async def too_late(_order: object) -> bool:
        check.end(bad())
        return True

    stage.on_stop = too_late
    await begin_announced(stage, check, ends(completed()))
    await stage.cancel()
    stage.outcome = await stage.ended()


@_shape(Kind.RUN)
async def canceled_in_the_attempt_after_its_check(stage: LoginStage) -> None:
    stage.valid = {1}
    attempt = Held(stage, announced=True)

    async def stop(_order: object) -> bool:
        attempt.end(AttemptOutcome(status=AttemptStatus.CANCELED, started_at=AT))
        return True

    stage.on_stop = stop
    await _begin(stage, attempt, attempt)
    await stage.cancel()
    stage.outcome = await stage.ended()


@_shape(Kind.RUN, Kind.VALIDATE)
async def validate_canceled_in_its_first_check(stage: LoginStage) -> None:
    check = Held(stage, announced=True)
    stops(stage, check)
    await begin_announced(stage, check, ends(completed()))
    await stage.client.get_workflow_handle(first_validate(stage)).cancel()
    stage.outcome = await stage.ended()


@_shape(Kind.RUN, Kind.VALIDATE)
async def validate_canceled_as_its_first_check_is_good(stage: LoginStage) -> None:
    check = Held(stage, announced=True)

    async def too_late(_order: object) -> bool:
        check.end(good())
        return True

    stage.on_stop = too_late
    await begin_announced(stage, check, ends(completed()))
    await stage.client.get_workflow_handle(first_validate(stage)).cancel()
    stage.outcome = await stage.ended()


@_shape(Kind.RUN)
async def validate_terminated_in_a_first_check_that_is_good(stage: LoginStage) -> None:
    check = Held(stage, announced=True)
    await begin_announced(stage, check, ends(completed()))
    await stage.client.get_workflow_handle(first_validate(stage)).terminate()
    check.end(good())
    stage.outcome = await stage.ended()


@_shape(Kind.RUN)
async def validate_terminated_in_a_first_check_that_is_bad(stage: LoginStage) -> None:
    check = Held(stage, announced=True)
    await begin_announced(stage, check, ends(completed()))
    await stage.client.get_workflow_handle(first_validate(stage)).terminate()
    check.end(bad())
    stage.outcome = await stage.ended()


# An AuthSession for this Run alone.


@_shape(Kind.RUN, Kind.VALIDATE, Kind.CREATE, Kind.SESSION)
async def first_check_in_a_runtime_session(stage: LoginStage) -> None:
    await stage.serve(ends(completed()))
    runtime = stage.runtime().model_copy(update={"check_with_attempt": True})
    await stage.start(auth=runtime)
    stage.outcome = await stage.ended()
    await stage.closed()
