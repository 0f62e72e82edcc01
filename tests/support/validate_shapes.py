"""The shapes that a Validate can take: each is played by the tests, and recorded."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from callboard.schemas.workflow.attempt import (
    AttemptOutcome,
    InterruptedInput,
    StopInput,
)
from callboard.schemas.workflow.auth import AuthSessionStatus
from callboard.schemas.workflow.run import ErrorCode, RunOutcome
from tests.support.auth_stage import Kind, LoginStage, bad, good, made_but_bad, made_by, not_made, scripted
from tests.support.run_stage import LOST, Gone, HeldAttempt, ends, raises
from tests.support.stage import Server, shape

_THROWS = bad(message="no such element", code=ErrorCode.SCRIPT_EXECUTION_EXCEPTION)
"""What a check comes to that raises."""
_TIMEOUT = bad(message="10 minutes", code=ErrorCode.SCRIPT_TIMEOUT)
_NO_CHECK = bad(message="check.py has no function `check`", code=ErrorCode.SCRIPT_EXECUTION_EXCEPTION, final=True)


def _validate(name: str, *recorded: Kind, of: dict[str, Any] | None = None, **script: Any) -> None:
    """Keep a shape of a Validate with these fields."""

    async def start(stage: LoginStage) -> RunOutcome:
        await stage.validate(**(of or {}))
        return await stage.validated()

    scripted(start, name, *recorded, **script)


_validate("login-good", Kind.VALIDATE, valid=[1])
# An exception, a time-out, a lost worker, a falsy return: each uses up one check.
_validate(
    "login-good-at-last",
    checks=[ends(_THROWS), ends(_TIMEOUT), raises(LOST), ends(bad()), ends(good())],
    of={"check_attempts": 5},
)
_validate(
    "login-bad-and-left-so",
    *(Kind.VALIDATE, Kind.SESSION),
    checks=[ends(bad()), ends(_THROWS)],
    of={"auto_recreate": False},
    then=AuthSessionStatus.EXPIRED,
)
_validate("check-cannot-be-called", checks=[ends(_NO_CHECK)])
# The first one fails, and the second one is interrupted.
_validate(
    "checks-with-a-queue-timeout",
    Kind.VALIDATE,
    checks=[ends(bad()), raises(LOST), ends(bad()), ends(good())],
    of={"queue_timeout": timedelta(minutes=5), "check_attempts": 4},
)
_validate("checks-lost", Kind.VALIDATE, checks=[raises(LOST)] * 8)  # all with their workers, again and again
_validate("login-made-anew", Kind.VALIDATE, Kind.CREATE, Kind.SESSION)
_validate(
    "login-not-made-anew",
    *(Kind.VALIDATE, Kind.SESSION),
    creates=[ends(not_made("no such element")), ends(not_made())],
)
_validate(
    "login-made-anew-but-bad", Kind.VALIDATE, Kind.SESSION, creates=[made_but_bad], then=AuthSessionStatus.EXPIRED
)
_validate("session-gone-before-the-check", Kind.VALIDATE, session=False)
_validate("session-gone-after-the-check", Kind.VALIDATE, session=False, checks=[ends(bad())] * 2)


@shape(LoginStage, Kind.VALIDATE)
async def check_lost_after_it_was_good(stage: LoginStage) -> None:
    async def find(_lost: InterruptedInput) -> AttemptOutcome | None:
        return good()

    stage.on_lost = find
    stage.checks.append(raises(LOST))
    await stage.open()
    await stage.validate(check_attempts=1)
    stage.outcome = await stage.validated()


@shape(LoginStage, Kind.VALIDATE, server=Server.OWN_SKIPPING)
async def check_worker_lost(stage: LoginStage) -> None:
    """Only the heartbeat time-out tells that the Attempt is lost."""
    gone = Gone(stage, announced=True)
    stage.checks.append(gone)
    stage.valid = {1}
    await stage.open()
    await stage.validate(check_attempts=1)
    await gone.began.wait()
    await stage.pass_time(seconds=31, held=True)
    stage.outcome = await stage.validated()


@shape(LoginStage, Kind.SESSION)
async def two_validates_that_share_one_create(stage: LoginStage) -> None:
    """Both ask while the login is made anew, and are answered at once."""
    held = stage.hold(stage.creates)
    await stage.open()
    other = f"{stage.validate_id}-other"
    await stage.validate()
    await stage.validate(other)
    await held.began.wait()
    await stage.until("WORKFLOW_EXECUTION_SIGNALED", 2, of=stage.session.id)
    held.end(await stage.make(stage.created[0]))
    stage.outcome = await stage.validated()
    await stage.outcome_of(other)


@shape(LoginStage, Kind.VALIDATE)
async def cancel_of_a_check(stage: LoginStage) -> None:
    stage.checks.append(ends(bad()))
    held = stage.hold(stage.checks, stops=True)
    await stage.open()
    await stage.validate()
    await held.began.wait()
    await stage.cancel(stage.validate_id)
    stage.outcome = await stage.validated()


@shape(LoginStage, Kind.VALIDATE)
async def cancel_of_a_check_that_is_elsewhere_by_now(stage: LoginStage) -> None:
    """The second try is on a worker that has not spoken of it yet, and the first one's has nothing to stop."""
    first, second = HeldAttempt(stage, announced=True), HeldAttempt(stage)

    async def stop(input: StopInput) -> bool:
        if input.number == 1:
            await stage.announce(2, stage.checked[-1])
            return False
        second.end()
        return True

    stage.on_stop = stop
    stage.checks.extend([first, second])
    await stage.open()
    await stage.validate()
    await first.began.wait()
    first.end(bad())
    await second.began.wait()
    await stage.cancel(stage.validate_id)
    stage.outcome = await stage.validated()


@shape(LoginStage, Kind.VALIDATE)
async def cancel_of_a_validate_that_is_queued(stage: LoginStage) -> None:
    await stage.serve_runs()
    await stage.bring_up()
    await stage.validate()
    await stage.until("ACTIVITY_TASK_SCHEDULED", of=stage.validate_id)
    await stage.cancel(stage.validate_id)
    stage.outcome = await stage.validated()


@shape(LoginStage, Kind.VALIDATE, Kind.SESSION)
async def cancel_while_a_create_is_waited_for(stage: LoginStage) -> None:
    held = stage.hold(stage.creates)
    await stage.open()
    await stage.validate()
    await held.began.wait()
    await stage.cancel(stage.validate_id)
    stage.outcome = await stage.validated()
    held.end(good(made_by(stage.created[0])))
    await stage.until_status(AuthSessionStatus.READY)


@shape(LoginStage, Kind.VALIDATE)
async def cancel_as_a_create_is_asked_for(stage: LoginStage) -> None:
    """The question is on its way as the Validate hears of the cancel."""
    held = stage.hold(stage.creates)
    stage.as_it_sends('"validate_run_id"', lambda: stage.cancel(stage.validate_id))
    await stage.open()
    await stage.validate()
    stage.outcome = await stage.validated()
    held.end(not_made())


@shape(LoginStage, Kind.VALIDATE)
async def cancel_as_the_session_is_told(stage: LoginStage) -> None:
    stage.as_it_sends('"good"', lambda: stage.cancel(stage.validate_id))
    await stage.open()
    await stage.validate(auto_recreate=False)
    stage.outcome = await stage.validated()
