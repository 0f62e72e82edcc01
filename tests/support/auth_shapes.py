"""The shapes that the workflows around an AuthSession can take: each is played by the tests, and recorded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from temporalio.exceptions import ApplicationError

from schemas.workflow import names
from schemas.workflow.attempt import (
    AUTH_SESSION_GONE,
    INTERRUPTED,
    AttemptInput,
    AttemptOutcome,
    InterruptedInput,
    StopInput,
)
from schemas.workflow.auth import AuthSessionStatus, CheckReport, Imported, SavedBack
from schemas.workflow.run import ErrorCode
from tests.support.auth_stage import LoginStage, bad, good, made_by, not_made, stops
from tests.support.run_stage import Gone, HeldAttempt, completed, ends, failed, interrupted, raises
from tests.support.temporal_servers import LONG_HISTORY

Play = Callable[[LoginStage], Awaitable[None]]

LOST = ApplicationError("The worker that ran the Attempt was lost.", type=INTERRUPTED)
"""The error by which the next worker reports a lost Attempt; a heartbeat time-out brings another error."""


class Kind(StrEnum):
    """The types of workflows, as files of histories are named."""

    RUN = "run"
    VALIDATE = "validate"
    CREATE = "create"
    SESSION = "authsession"


@dataclass(frozen=True)
class Shape:
    """How to bring it about."""

    play: Play
    recorded: tuple[Kind, ...]
    """The workflows whose histories are new in it."""
    passes_time: bool = False
    """It needs a server that can skip time."""


LOGIN_SHAPES: dict[str, Shape] = {}


class Keep(Protocol):
    """Make a decorator that turns a function into a shape."""

    def __call__(self, *recorded: Kind, passes_time: bool = False) -> Callable[[Play], Play]: ...


def kept_in(shapes: dict[str, Shape]) -> Keep:
    """Keeps shapes here, by their names."""

    def shape(*recorded: Kind, passes_time: bool = False) -> Callable[[Play], Play]:
        def keep(play: Play) -> Play:
            shapes[play.__name__.replace("_", "-")] = Shape(play, recorded, passes_time)
            return play

        return keep

    return shape


_shape = kept_in(LOGIN_SHAPES)


async def made_but_bad(input: AttemptInput) -> AttemptOutcome:
    """A create that succeeds, with a login that the site does not know."""
    return good(made_by(input))


def throws(message: str = "no such element") -> AttemptOutcome:
    """What a check comes to that raises."""
    return bad(message=message, code=ErrorCode.SCRIPT_EXECUTION_EXCEPTION)


# Validate.


@_shape(Kind.VALIDATE)
async def login_good(stage: LoginStage) -> None:
    stage.valid = {1}
    await stage.serve()
    await stage.bring_up()
    await stage.validate()
    stage.outcome = await stage.validated()


@_shape(Kind.VALIDATE)
async def login_good_at_last(stage: LoginStage) -> None:
    """An exception, a time-out, a lost worker, a falsy return: each uses up one check."""
    timeout = bad(message="10 minutes", code=ErrorCode.SCRIPT_TIMEOUT)
    stage.checks.extend([ends(throws()), ends(timeout), raises(LOST), ends(bad()), ends(good())])
    await stage.serve()
    await stage.bring_up()
    await stage.validate(check_attempts=5)
    stage.outcome = await stage.validated()


@_shape(Kind.VALIDATE, Kind.SESSION)
async def login_bad_and_left_so(stage: LoginStage) -> None:
    stage.checks.extend([ends(bad()), ends(throws())])
    await stage.serve()
    await stage.bring_up()
    await stage.validate(auto_recreate=False)
    stage.outcome = await stage.validated()
    await stage.until_status(AuthSessionStatus.EXPIRED)


@_shape(Kind.VALIDATE)
async def check_cannot_be_called(stage: LoginStage) -> None:
    broken = bad(message="check.py has no function `check`", code=ErrorCode.SCRIPT_EXECUTION_EXCEPTION, final=True)
    stage.checks.append(ends(broken))
    await stage.serve()
    await stage.bring_up()
    await stage.validate()
    stage.outcome = await stage.validated()


@_shape(Kind.VALIDATE)
async def checks_with_a_queue_timeout(stage: LoginStage) -> None:
    """The first one fails, and the second one is interrupted."""
    stage.checks.extend([ends(bad()), raises(LOST), ends(bad()), ends(good())])
    await stage.serve()
    await stage.bring_up()
    await stage.validate(queue_timeout=timedelta(minutes=5), check_attempts=4)
    stage.outcome = await stage.validated()


@_shape(Kind.VALIDATE)
async def checks_lost(stage: LoginStage) -> None:
    """All with their workers, again and again."""
    stage.checks.extend([raises(LOST)] * 8)
    await stage.serve()
    await stage.bring_up()
    await stage.validate()
    stage.outcome = await stage.validated()


@_shape(Kind.VALIDATE)
async def check_lost_after_it_was_good(stage: LoginStage) -> None:
    async def find(_lost: InterruptedInput) -> AttemptOutcome | None:
        return good()

    stage.on_lost = find
    stage.checks.append(raises(LOST))
    await stage.serve()
    await stage.bring_up()
    await stage.validate(check_attempts=1)
    stage.outcome = await stage.validated()


@_shape(Kind.VALIDATE, passes_time=True)
async def check_worker_lost(stage: LoginStage) -> None:
    """Only the heartbeat time-out tells that the Attempt is lost."""
    gone = Gone(stage, announced=True)
    stage.checks.append(gone)
    stage.valid = {1}
    await stage.serve()
    await stage.bring_up()
    await stage.validate(check_attempts=1)
    await gone.began.wait()
    await stage.pass_time(seconds=31, held=True)
    stage.outcome = await stage.validated()


@_shape(Kind.VALIDATE, Kind.CREATE, Kind.SESSION)
async def login_made_anew(stage: LoginStage) -> None:
    await stage.serve()
    await stage.bring_up()
    await stage.validate()
    stage.outcome = await stage.validated()


@_shape(Kind.VALIDATE, Kind.CREATE, Kind.SESSION)
async def login_not_made_anew(stage: LoginStage) -> None:
    stage.creates.extend([ends(not_made("no such element")), ends(not_made())])
    await stage.serve()
    await stage.bring_up()
    await stage.validate()
    stage.outcome = await stage.validated()


@_shape(Kind.VALIDATE, Kind.SESSION)
async def login_made_anew_but_bad(stage: LoginStage) -> None:
    stage.creates.append(made_but_bad)
    await stage.serve()
    await stage.bring_up()
    await stage.validate()
    stage.outcome = await stage.validated()
    await stage.until_status(AuthSessionStatus.EXPIRED)


@_shape(Kind.VALIDATE)
async def session_gone_before_the_check(stage: LoginStage) -> None:
    await stage.serve()
    await stage.validate()
    stage.outcome = await stage.validated()


@_shape(Kind.VALIDATE)
async def session_gone_after_the_check(stage: LoginStage) -> None:
    stage.checks.extend([ends(bad()), ends(bad())])
    await stage.serve()
    await stage.validate()
    stage.outcome = await stage.validated()


@_shape(Kind.SESSION)
async def two_validates_that_share_one_create(stage: LoginStage) -> None:
    """Both ask while the login is made anew, and are answered at once."""
    held = HeldAttempt(stage)
    stage.creates.append(held)
    await stage.serve()
    await stage.bring_up()
    other = f"{stage.validate_id}-other"
    await stage.validate()
    await stage.validate(other)
    await held.began.wait()
    await stage.until("WORKFLOW_EXECUTION_SIGNALED", 2, of=stage.session.id)
    held.end(await stage.make(stage.created[0]))
    stage.outcome = await stage.validated()
    await stage.outcome_of(other)


@_shape(Kind.VALIDATE)
async def cancel_of_a_check(stage: LoginStage) -> None:
    held = HeldAttempt(stage, announced=True)
    stops(stage, held)
    stage.checks.extend([ends(bad()), held])
    await stage.serve()
    await stage.bring_up()
    await stage.validate()
    await held.began.wait()
    await stage.client.get_workflow_handle(stage.validate_id).cancel()
    stage.outcome = await stage.validated()


@_shape(Kind.VALIDATE)
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
    await stage.serve()
    await stage.bring_up()
    await stage.validate()
    await first.began.wait()
    first.end(bad())
    await second.began.wait()
    await stage.client.get_workflow_handle(stage.validate_id).cancel()
    stage.outcome = await stage.validated()


@_shape(Kind.VALIDATE)
async def cancel_of_a_validate_that_is_queued(stage: LoginStage) -> None:
    await stage.serve_runs()
    await stage.bring_up()
    await stage.validate()
    await stage.until("ACTIVITY_TASK_SCHEDULED", of=stage.validate_id)
    await stage.client.get_workflow_handle(stage.validate_id).cancel()
    stage.outcome = await stage.validated()


@_shape(Kind.VALIDATE, Kind.SESSION)
async def cancel_while_a_create_is_waited_for(stage: LoginStage) -> None:
    held = HeldAttempt(stage)
    stage.creates.append(held)
    await stage.serve()
    await stage.bring_up()
    await stage.validate()
    await held.began.wait()
    await stage.client.get_workflow_handle(stage.validate_id).cancel()
    stage.outcome = await stage.validated()
    held.end(good(made_by(stage.created[0])))
    await stage.until_status(AuthSessionStatus.READY)


@_shape(Kind.VALIDATE)
async def cancel_as_a_create_is_asked_for(stage: LoginStage) -> None:
    """The question is on its way as the Validate hears of the cancel."""
    held = HeldAttempt(stage)
    stage.creates.append(held)
    stage.as_it_sends('"asker"', lambda: stage.client.get_workflow_handle(stage.validate_id).cancel())
    await stage.serve()
    await stage.bring_up()
    await stage.validate()
    stage.outcome = await stage.validated()
    held.end(not_made())


@_shape(Kind.VALIDATE)
async def cancel_as_the_session_is_told(stage: LoginStage) -> None:
    stage.as_it_sends('"good"', lambda: stage.client.get_workflow_handle(stage.validate_id).cancel())
    await stage.serve()
    await stage.bring_up()
    await stage.validate(auto_recreate=False)
    stage.outcome = await stage.validated()


# Create and Update.


@_shape(Kind.CREATE, Kind.SESSION)
async def session_made(stage: LoginStage) -> None:
    """At the second try, and checked at the second try; then deleted."""
    stage.creates.append(ends(not_made()))
    stage.checks.append(ends(bad()))
    await stage.serve()
    await stage.bring_up(input := stage.login_spec("create"))
    stage.outcome = await stage.outcome_of(input.run_id)
    await stage.until_status(AuthSessionStatus.READY)
    await stage.delete()
    await stage.closed()


@_shape(Kind.CREATE, Kind.SESSION)
async def session_not_made(stage: LoginStage) -> None:
    stage.creates.extend([ends(not_made("no such element")), ends(not_made())])
    await stage.serve()
    await stage.bring_up(input := stage.login_spec("create"))
    stage.outcome = await stage.outcome_of(input.run_id)
    await stage.closed()


@_shape(Kind.CREATE)
async def create_cannot_be_called(stage: LoginStage) -> None:
    stage.creates.append(ends(not_made("create.py has no function `create`", final=True)))
    await stage.serve()
    await stage.bring_up(input := stage.login_spec("create"))
    stage.outcome = await stage.outcome_of(input.run_id)
    await stage.closed()


@_shape(Kind.CREATE, Kind.SESSION)
async def session_made_but_bad(stage: LoginStage) -> None:
    stage.creates.append(made_but_bad)
    await stage.serve()
    await stage.bring_up(input := stage.login_spec("create"))
    stage.outcome = await stage.outcome_of(input.run_id)
    await stage.closed()


@_shape(Kind.CREATE)
async def creates_lost(stage: LoginStage) -> None:
    """All with their workers."""
    stage.creates.extend([raises(LOST)] * 2)
    await stage.serve()
    await stage.bring_up(input := stage.login_spec("create"))
    stage.outcome = await stage.outcome_of(input.run_id)
    await stage.closed()


@_shape(Kind.CREATE)
async def create_lost_after_it_was_made(stage: LoginStage) -> None:
    async def find(_lost: InterruptedInput) -> AttemptOutcome | None:
        return await stage.make(stage.created[-1])

    stage.on_lost = find
    stage.creates.extend([raises(LOST)] * 2)
    await stage.serve()
    await stage.bring_up(input := stage.login_spec("create"))
    stage.outcome = await stage.outcome_of(input.run_id)
    await stage.until_status(AuthSessionStatus.READY)


@_shape(Kind.CREATE, passes_time=True)
async def create_worker_lost(stage: LoginStage) -> None:
    gone = Gone(stage, announced=True)
    stage.creates.append(gone)
    await stage.serve()
    await stage.bring_up(input := stage.login_spec("create"))
    await gone.began.wait()
    await stage.pass_time(seconds=31, held=True)
    stage.outcome = await stage.outcome_of(input.run_id)
    await stage.until_status(AuthSessionStatus.READY)


@_shape(Kind.CREATE, Kind.SESSION)
async def create_canceled(stage: LoginStage) -> None:
    """By whoever has started it."""
    held = HeldAttempt(stage, announced=True)
    stops(stage, held)
    stage.creates.append(held)
    await stage.serve()
    await stage.bring_up(input := stage.login_spec("create"))
    await held.began.wait()
    await stage.client.get_workflow_handle(input.run_id).cancel()
    stage.outcome = await stage.outcome_of(input.run_id)
    await stage.closed()


@_shape(Kind.SESSION)
async def create_canceled_that_others_wait_for(stage: LoginStage) -> None:
    held = HeldAttempt(stage, announced=True)
    stops(stage, held)
    stage.creates.append(held)
    await stage.serve()
    await stage.bring_up()
    await stage.validate()
    await held.began.wait()
    await stage.client.get_workflow_handle(stage.created[0].run_id).cancel()
    stage.outcome = await stage.validated()


@_shape(Kind.CREATE)
async def create_canceled_in_its_check(stage: LoginStage) -> None:
    held = HeldAttempt(stage, announced=True)
    stops(stage, held)
    stage.checks.append(held)
    await stage.serve()
    await stage.bring_up(input := stage.login_spec("create"))
    await held.began.wait()
    await stage.client.get_workflow_handle(input.run_id).cancel()
    stage.outcome = await stage.outcome_of(input.run_id)
    await stage.closed()


@_shape(Kind.CREATE, Kind.SESSION)
async def session_updated(stage: LoginStage) -> None:
    await stage.serve()
    await stage.bring_up()
    input = await stage.update("update")
    stage.outcome = await stage.outcome_of(input.run_id)
    await stage.until_status(AuthSessionStatus.READY)


@_shape(Kind.SESSION)
async def session_not_updated(stage: LoginStage) -> None:
    stage.creates.append(made_but_bad)
    await stage.serve()
    await stage.bring_up()
    input = await stage.update("update")
    stage.outcome = await stage.outcome_of(input.run_id)
    await stage.until_status(AuthSessionStatus.READY)


# Delete.


@_shape(Kind.VALIDATE, Kind.CREATE, Kind.SESSION)
async def session_deleted_while_a_create_is_waited_for(stage: LoginStage) -> None:
    held = HeldAttempt(stage, announced=True)
    stops(stage, held)
    stage.creates.append(held)
    await stage.serve()
    await stage.bring_up()
    await stage.validate()
    await held.began.wait()
    await stage.delete()
    stage.outcome = await stage.validated()
    await stage.closed()


@_shape(Kind.SESSION)
async def session_deleted_as_a_create_is_about_to_end(stage: LoginStage) -> None:
    """It completes although it was told to stop."""
    held = HeldAttempt(stage, announced=True)

    async def too_late(_input: StopInput) -> bool:
        held.end(good(made_by(stage.created[0])))
        return True

    stage.on_stop = too_late
    stage.creates.append(held)
    await stage.serve()
    await stage.bring_up(input := stage.login_spec("create", check_attempts=0))
    await held.began.wait()
    await stage.delete()
    stage.outcome = await stage.outcome_of(input.run_id)
    await stage.closed()


@_shape(Kind.SESSION)
async def session_deleted_before_an_update(stage: LoginStage) -> None:
    """A Validate waits for another one to end."""
    held = HeldAttempt(stage, announced=True)
    stops(stage, held)
    stage.creates.append(held)
    await stage.serve()
    await stage.bring_up()
    input = await stage.update("first")
    await held.began.wait()
    await stage.update("second")
    await stage.delete()
    stage.outcome = await stage.outcome_of(input.run_id)
    await stage.closed()


# What becomes of its states.


@_shape(Kind.SESSION)
async def states_saved_back(stage: LoginStage) -> None:
    """More often than are kept; and one that comes too late."""
    await stage.serve()
    await stage.bring_up()
    for number in range(16):
        before = "state-1" if number == 0 else f"state-1-{number}"
        await stage.session.signal(names.SAVED_BACK, SavedBack(before=before, after=f"state-1-{number + 1}"))
    await stage.session.signal(names.SAVED_BACK, SavedBack(before="state-1-3", after="too-late"))
    await stage.until_forgotten()


@_shape(Kind.SESSION)
async def recorded_anew(stage: LoginStage) -> None:
    stage.recorder()
    await stage.serve()
    await stage.bring_up()
    await stage.session.signal(names.IMPORTED, Imported(key="state-2"))
    await stage.until_view(lambda view: view.login_version == 2)


@_shape(Kind.SESSION)
async def session_continued(stage: LoginStage) -> None:
    """With a fresh history, from what it has come to; then deleted."""
    await stage.bring_up()
    await stage.session.signal(names.SAVED_BACK, SavedBack(before="state-1", after="state-1-1"))
    for _ in range(LONG_HISTORY):
        await stage.session.signal(names.CHECKED, CheckReport(login_version=1, good=False))
    await stage.serve()
    await stage.until_status(AuthSessionStatus.EXPIRED)
    await stage.until_continued()
    await stage.delete()
    await stage.closed()


# A Run.


@_shape(Kind.RUN)
async def run_with_a_login(stage: LoginStage) -> None:
    """And two Attempts."""
    stage.valid = {1}
    await stage.serve(ends(failed()), ends(completed()))
    await stage.bring_up()
    await stage.start(auth=stage.auth())
    stage.outcome = await stage.ended()


@_shape(Kind.RUN, Kind.VALIDATE)
async def run_queued_too_long(stage: LoginStage) -> None:
    """Its first check, that is."""
    await stage.serve_runs()
    await stage.bring_up()
    await stage.start(auth=stage.auth(), queue_timeout=timedelta(seconds=0.2))
    stage.outcome = await stage.ended()


@_shape(Kind.RUN)
async def run_without_a_good_login(stage: LoginStage) -> None:
    """From its second Attempt on."""
    stage.valid = {1}

    async def expires(_input: AttemptInput) -> AttemptOutcome:
        stage.valid.clear()
        return failed()

    await stage.serve(expires, ends(completed()))
    await stage.bring_up()
    await stage.start(auth=stage.auth(auto_recreate=False))
    stage.outcome = await stage.ended()


@_shape(Kind.RUN)
async def run_interrupted_after_its_validate(stage: LoginStage) -> None:
    stage.valid = {1}
    await stage.serve(interrupted(), ends(completed()))
    await stage.bring_up()
    await stage.start(auth=stage.auth())
    stage.outcome = await stage.ended()


@_shape(Kind.RUN)
async def run_canceled_in_the_attempt_after_its_validate(stage: LoginStage) -> None:
    stage.valid = {1}
    held = HeldAttempt(stage, announced=True)
    stops(stage, held)
    await stage.serve(held)
    await stage.bring_up()
    await stage.start(auth=stage.auth())
    await held.began.wait()
    await stage.cancel()
    stage.outcome = await stage.ended()


@_shape(Kind.RUN)
async def run_whose_session_is_deleted_before_its_attempt(stage: LoginStage) -> None:
    stage.valid = {1}
    gone = ApplicationError("It was deleted.", type=AUTH_SESSION_GONE, non_retryable=True)
    await stage.serve(raises(gone), ends(completed()))
    await stage.bring_up()
    await stage.start(auth=stage.auth())
    stage.outcome = await stage.ended()


@_shape(Kind.RUN)
async def run_whose_validate_is_terminated(stage: LoginStage) -> None:
    held = HeldAttempt(stage)
    stage.checks.append(held)
    await stage.serve(ends(completed()))
    await stage.bring_up()
    await stage.start(auth=stage.auth())
    await held.began.wait()
    await stage.client.get_workflow_handle(names.validate_run_id(stage.run_id, 1)).terminate()
    stage.outcome = await stage.ended()


@_shape(Kind.RUN, Kind.VALIDATE)
async def run_canceled_in_its_validate(stage: LoginStage) -> None:
    held = HeldAttempt(stage, announced=True)
    stops(stage, held)
    stage.checks.append(held)
    await stage.serve(ends(completed()))
    await stage.bring_up()
    await stage.start(auth=stage.auth())
    await held.began.wait()
    await stage.cancel()
    stage.outcome = await stage.ended()


@_shape(Kind.RUN, Kind.VALIDATE)
async def run_canceled_as_its_validate_is_started(stage: LoginStage) -> None:
    stage.valid = {1}
    stage.as_it_sends(f'"parent_run_id":"{stage.run_id}"', stage.cancel)
    await stage.serve(ends(completed()))
    await stage.bring_up()
    await stage.start(auth=stage.auth())
    stage.outcome = await stage.ended()


@_shape(Kind.RUN, Kind.VALIDATE, Kind.CREATE, Kind.SESSION)
async def run_with_a_runtime_session(stage: LoginStage) -> None:
    await stage.serve(ends(completed()))
    await stage.start(auth=stage.runtime())
    stage.outcome = await stage.ended()
    await stage.closed()


@_shape(Kind.RUN, Kind.SESSION)
async def run_with_a_runtime_session_canceled_with_the_start(stage: LoginStage) -> None:
    await stage.serve_attempts(ends(completed()))
    await stage.start(auth=stage.runtime())
    await stage.cancel()
    await stage.serve_runs()
    stage.outcome = await stage.ended()
    await stage.closed()
