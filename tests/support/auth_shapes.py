"""The shapes that the workflows around an AuthSession can take: each is played by the tests, and recorded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Any

from temporalio.exceptions import ApplicationError

from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import (
    AUTH_SESSION_GONE,
    INTERRUPTED,
    AttemptInput,
    AttemptOutcome,
    AttemptStatus,
    InterruptedInput,
    StopInput,
)
from callboard.schemas.workflow.auth import AuthSessionStatus, CheckReport, Imported, SavedBack
from callboard.schemas.workflow.run import ErrorCode, ReasonType, RunOutcome, RunReason, RunStatus
from callboard.schemas.workflow.trace import TraceMode
from callboard.temporal.closing import wait_for_outcome
from tests.support.auth_stage import START_URL, Kind, LoginStage, bad, good, made_by, not_made
from tests.support.run_stage import Gone, HeldAttempt, Part, completed, ends, failed, interrupted, raises
from tests.support.stage import Server, keep, shape
from tests.support.temporal_servers import LONG_HISTORY

LOST = ApplicationError("The worker that ran the Attempt was lost.", type=INTERRUPTED)
"""The error by which the next worker reports a lost Attempt; a heartbeat time-out brings another error."""


async def made_but_bad(input: AttemptInput) -> AttemptOutcome:
    """A create that succeeds, with a login that the site does not know."""
    return good(made_by(input))


DECLINED = AttemptOutcome(
    status=AttemptStatus.CANCELED,
    reason=RunReason(type=ReasonType.CANCELLED_USER_ACTION, message="A person has declined: not my account"),
)
"""What a record comes to whose Handoff is declined."""

THROWS = bad(message="no such element", code=ErrorCode.SCRIPT_EXECUTION_EXCEPTION)
"""What a check comes to that raises."""


# Validates, Creates and Runs whose tries follow a script, to their end.


def _scripted(
    start: Callable[[LoginStage], Awaitable[RunOutcome]],
    name: str,
    *recorded: Kind,
    valid: Iterable[int] = (),
    checks: Iterable[Part] = (),
    creates: Iterable[Part] = (),
    attempts: Iterable[Part] = (),
    session: bool = True,
    then: AuthSessionStatus | None = None,
) -> None:
    """Keep a shape that is told by what its checks, creates and Attempts do.

    Args:
        start: Starts the workflow and returns its outcome.
        name: Of the shape.
        recorded: The workflows whose histories are new in it.
        valid: The logins that the site knows at first.
        checks: What the first checks do.
        creates: What the first creates do.
        attempts: What the Attempts do.
        session: There is an AuthSession, with a login, before the start.
        then: The status that the AuthSession has in the end.
    """

    async def play(stage: LoginStage) -> None:
        stage.valid = {*valid}
        stage.checks.extend(checks)
        stage.creates.extend(creates)
        await stage.serve(*attempts)
        if session:
            await stage.bring_up()
        stage.outcome = await start(stage)
        if then is not None:
            await stage.until_status(then)

    keep(name, LoginStage, play, recorded=recorded)


def _validate(name: str, *recorded: Kind, of: dict[str, Any] | None = None, **script: Any) -> None:
    """Keep a shape of a Validate with these fields."""

    async def start(stage: LoginStage) -> RunOutcome:
        await stage.validate(**(of or {}))
        return await stage.validated()

    _scripted(start, name, *recorded, **script)


def _create(name: str, *recorded: Kind, **script: Any) -> None:
    """Keep a shape of a Create that fails, and so leaves no AuthSession."""

    async def start(stage: LoginStage) -> RunOutcome:
        await stage.bring_up(input := stage.login_spec("create"))
        outcome = await stage.outcome_of(input.run_id)
        await stage.closed()
        return outcome

    _scripted(start, name, *recorded, session=False, **script)


def _update(name: str, *recorded: Kind, **script: Any) -> None:
    async def start(stage: LoginStage) -> RunOutcome:
        return await stage.outcome_of((await stage.update("update")).run_id)

    _scripted(start, name, *recorded, then=AuthSessionStatus.READY, **script)


def _run(name: str, *recorded: Kind, **script: Any) -> None:
    """Keep a shape of a Run whose first login is good."""

    async def start(stage: LoginStage) -> RunOutcome:
        await stage.start(auth=stage.auth())
        return await stage.ended()

    _scripted(start, name, *recorded, valid=[1], **script)


READY, EXPIRED = AuthSessionStatus.READY, AuthSessionStatus.EXPIRED
_TIMEOUT = bad(message="10 minutes", code=ErrorCode.SCRIPT_TIMEOUT)
_NO_CHECK = bad(message="check.py has no function `check`", code=ErrorCode.SCRIPT_EXECUTION_EXCEPTION, final=True)
_GONE = ApplicationError("It was deleted.", type=AUTH_SESSION_GONE, non_retryable=True)

_validate("login-good", Kind.VALIDATE, valid=[1])
# An exception, a time-out, a lost worker, a falsy return: each uses up one check.
_validate(
    "login-good-at-last",
    checks=[ends(THROWS), ends(_TIMEOUT), raises(LOST), ends(bad()), ends(good())],
    of={"check_attempts": 5},
)
_validate(
    "login-bad-and-left-so",
    *(Kind.VALIDATE, Kind.SESSION),
    checks=[ends(bad()), ends(THROWS)],
    of={"auto_recreate": False},
    then=EXPIRED,
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
_validate("login-made-anew-but-bad", Kind.VALIDATE, Kind.SESSION, creates=[made_but_bad], then=EXPIRED)
_validate("session-gone-before-the-check", Kind.VALIDATE, session=False)
_validate("session-gone-after-the-check", Kind.VALIDATE, session=False, checks=[ends(bad())] * 2)
_create(
    "session-not-made",
    Kind.CREATE,
    creates=[ends(not_made("no such element")), ends(not_made())],
)
_create("create-cannot-be-called", creates=[ends(not_made("create.py has no function `create`", final=True))])
_create("session-made-but-bad", Kind.CREATE, Kind.SESSION, creates=[made_but_bad])
_create("creates-lost", Kind.CREATE, creates=[raises(LOST)] * 2)  # both with their workers
_update("session-updated", Kind.SESSION)
_update("session-not-updated", Kind.SESSION, creates=[made_but_bad])
_run("run-with-a-login", Kind.RUN, attempts=[ends(failed()), ends(completed())])
_run("run-interrupted-after-its-validate", Kind.RUN, attempts=[interrupted(), ends(completed())])
_run("run-whose-session-is-deleted-before-its-attempt", Kind.RUN, attempts=[raises(_GONE), ends(completed())])


# Validate, when more happens.


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
    await stage.until_status(READY)


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


# Create, when more happens.


@shape(LoginStage, Kind.CREATE, Kind.SESSION)
async def session_made(stage: LoginStage) -> None:
    """At the second try, and checked at the second try; then deleted."""
    stage.creates.append(ends(not_made()))
    stage.checks.append(ends(bad()))
    await stage.open(input := stage.login_spec("create"))
    stage.outcome = await stage.outcome_of(input.run_id)
    await stage.until_status(READY)
    await stage.delete()
    await stage.closed()


@shape(LoginStage, Kind.CREATE)
async def create_lost_after_it_was_made(stage: LoginStage) -> None:
    async def find(_lost: InterruptedInput) -> AttemptOutcome | None:
        return await stage.make(stage.created[-1])

    stage.on_lost = find
    stage.creates.extend([raises(LOST)] * 2)
    await stage.open(input := stage.login_spec("create"))
    stage.outcome = await stage.outcome_of(input.run_id)
    await stage.until_status(READY)


@shape(LoginStage, Kind.CREATE, server=Server.OWN_SKIPPING)
async def create_worker_lost(stage: LoginStage) -> None:
    gone = Gone(stage, announced=True)
    stage.creates.append(gone)
    await stage.open(input := stage.login_spec("create"))
    await gone.began.wait()
    await stage.pass_time(seconds=31, held=True)
    stage.outcome = await stage.outcome_of(input.run_id)
    await stage.until_status(READY)


async def _cancel_a_create(stage: LoginStage, held: HeldAttempt) -> None:
    """By whoever has started it."""
    await stage.open(input := stage.login_spec("create"))
    await held.began.wait()
    await stage.cancel(input.run_id)
    stage.outcome = await stage.outcome_of(input.run_id)
    await stage.closed()


@shape(LoginStage, Kind.CREATE, Kind.SESSION)
async def create_canceled(stage: LoginStage) -> None:
    await _cancel_a_create(stage, stage.hold(stage.creates, stops=True))


@shape(LoginStage, Kind.CREATE)
async def create_canceled_in_its_check(stage: LoginStage) -> None:
    await _cancel_a_create(stage, stage.hold(stage.checks, stops=True))


@shape(LoginStage, Kind.SESSION)
async def create_canceled_that_others_wait_for(stage: LoginStage) -> None:
    held = stage.hold(stage.creates, stops=True)
    await stage.open()
    await stage.validate()
    await held.began.wait()
    await stage.cancel(stage.created[0].run_id)
    stage.outcome = await stage.validated()


# Records, by a person.


@shape(LoginStage, Kind.CREATE, Kind.SESSION)
async def session_recorded(stage: LoginStage) -> None:
    """Its first worker is lost; then deleted."""
    stage.recorder()
    stage.creates.append(raises(LOST))
    await stage.open(input := stage.record_spec("record"))
    stage.outcome = await stage.outcome_of(input.run_id)
    await stage.until_status(READY)
    await stage.delete()
    await stage.closed()


@shape(LoginStage, Kind.CREATE, Kind.SESSION)
async def session_declined(stage: LoginStage) -> None:
    stage.recorder()
    stage.creates.append(ends(DECLINED))
    await stage.open(input := stage.record_spec("record"))
    await stage.closed()
    # Nobody has canceled it in Temporal, where it has failed.
    stage.outcome = await wait_for_outcome(stage.client.get_workflow_handle(input.run_id, result_type=RunOutcome))


@shape(LoginStage, Kind.VALIDATE, Kind.SESSION)
async def login_recorded_anew_that_has_expired(stage: LoginStage) -> None:
    stage.recorder()
    await stage.open(start_url=START_URL)
    await stage.validate(trace=TraceMode.ALWAYS)
    stage.outcome = await stage.validated()


# Delete.


@shape(LoginStage, Kind.CREATE, Kind.SESSION)
async def session_deleted_while_a_create_is_waited_for(stage: LoginStage) -> None:
    held = stage.hold(stage.creates, stops=True)
    await stage.open()
    await stage.validate()
    await held.began.wait()
    await stage.delete()
    stage.outcome = await stage.validated()
    await stage.closed()


@shape(LoginStage, Kind.SESSION)
async def session_deleted_as_a_create_is_about_to_end(stage: LoginStage) -> None:
    """It completes although it was told to stop."""
    held = HeldAttempt(stage, announced=True)

    async def too_late(_input: StopInput) -> bool:
        held.end(good(made_by(stage.created[0])))
        return True

    stage.on_stop = too_late
    stage.creates.append(held)
    await stage.open(input := stage.login_spec("create", check_attempts=0))
    await held.began.wait()
    await stage.delete()
    stage.outcome = await stage.outcome_of(input.run_id)
    await stage.closed()


@shape(LoginStage, Kind.SESSION)
async def session_deleted_before_an_update(stage: LoginStage) -> None:
    """A Validate waits for another one to end."""
    held = stage.hold(stage.creates, stops=True)
    await stage.open()
    input = await stage.update("first")
    await held.began.wait()
    await stage.update("second")
    await stage.delete()
    stage.outcome = await stage.outcome_of(input.run_id)
    await stage.closed()


# What becomes of its states.


@shape(LoginStage, Kind.SESSION)
async def states_saved_back(stage: LoginStage) -> None:
    """More often than are kept; and one that comes too late."""
    await stage.open()
    for number in range(16):
        before = "state-1" if number == 0 else f"state-1-{number}"
        await stage.session.signal(names.SAVED_BACK, SavedBack(before=before, after=f"state-1-{number + 1}"))
    await stage.session.signal(names.SAVED_BACK, SavedBack(before="state-1-3", after="too-late"))
    await stage.until_forgotten()


@shape(LoginStage, Kind.SESSION)
async def recorded_anew(stage: LoginStage) -> None:
    stage.recorder()
    await stage.open()
    await stage.session.signal(names.IMPORTED, Imported(key="state-2"))
    await stage.until_view(lambda view: view.login_version == 2)


@shape(LoginStage, Kind.SESSION)
async def session_continued(stage: LoginStage) -> None:
    """With a fresh history, from what it has come to; then deleted."""
    await stage.bring_up()
    await stage.session.signal(names.SAVED_BACK, SavedBack(before="state-1", after="state-1-1"))
    for _ in range(LONG_HISTORY):
        await stage.session.signal(names.CHECKED, CheckReport(login_version=1, good=False))
    await stage.serve()
    await stage.until_status(EXPIRED)
    await stage.until_continued()
    await stage.delete()
    await stage.closed()


# A Run, when more happens.


@shape(LoginStage, Kind.RUN, Kind.VALIDATE)
async def run_queued_too_long(stage: LoginStage) -> None:
    """Its first check, that is."""
    await stage.serve_runs()
    await stage.bring_up()
    await stage.start(auth=stage.auth(), queue_timeout=timedelta(seconds=0.2))
    stage.outcome = await stage.ended()


@shape(LoginStage, Kind.RUN)
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


async def _cancel_once_it_is_held(stage: LoginStage, held: HeldAttempt, attempt: Part) -> None:
    await stage.serve(attempt)
    await stage.bring_up()
    await stage.start(auth=stage.auth())
    await held.began.wait()
    await stage.cancel()
    stage.outcome = await stage.ended()


@shape(LoginStage, Kind.RUN)
async def run_canceled_in_the_attempt_after_its_validate(stage: LoginStage) -> None:
    stage.valid = {1}
    held = stage.stopping(HeldAttempt(stage, announced=True))
    await _cancel_once_it_is_held(stage, held, held)


@shape(LoginStage, Kind.RUN)
async def run_canceled_in_its_validate(stage: LoginStage) -> None:
    await _cancel_once_it_is_held(stage, stage.hold(stage.checks, stops=True), ends(completed()))


@shape(LoginStage, Kind.RUN)
async def run_whose_validate_is_terminated(stage: LoginStage) -> None:
    held = stage.hold(stage.checks)
    await stage.serve(ends(completed()))
    await stage.bring_up()
    await stage.start(auth=stage.auth())
    await held.began.wait()
    await stage.client.get_workflow_handle(names.validate_run_id(stage.run_id, 1)).terminate()
    stage.outcome = await stage.ended()


@shape(LoginStage, Kind.RUN, Kind.VALIDATE)
async def run_canceled_as_its_validate_is_started(stage: LoginStage) -> None:
    stage.valid = {1}
    stage.as_it_sends(f'"parent_run_id":"{stage.run_id}"', stage.cancel)
    await stage.serve(ends(completed()))
    await stage.bring_up()
    await stage.start(auth=stage.auth())
    stage.outcome = await stage.ended()


@shape(LoginStage, Kind.RUN, Kind.SESSION)
async def run_with_a_runtime_session(stage: LoginStage) -> None:
    await stage.serve(ends(completed()))
    await stage.start(auth=stage.runtime())
    stage.outcome = await stage.ended()
    await stage.closed()


@shape(LoginStage, Kind.RUN, Kind.SESSION)
async def run_with_a_runtime_session_canceled_with_the_start(stage: LoginStage) -> None:
    await stage.serve_attempts(ends(completed()))
    await stage.start(auth=stage.runtime())
    await stage.cancel()
    await stage.serve_runs()
    stage.outcome = await stage.ended()
    await stage.closed()


# Runs that use a login alone.


async def _two_runs(stage: LoginStage, *, then: Part | None = None, **second: Any) -> HeldAttempt:
    """The stage's Run, with these fields, waits for another one to end, whose Attempt is held."""
    stage.valid = {1}
    held = HeldAttempt(stage)

    async def attempt(input: AttemptInput) -> AttemptOutcome:
        return await (then or ends(completed()) if input.run_id == stage.run_id else held)(input)

    await stage.serve(attempt)
    await stage.bring_up()
    await stage.start(first := f"{stage.run_id}-first", auth=stage.auth(is_exclusive=True))
    await held.began.wait()
    await stage.start(auth=stage.auth(is_exclusive=True), **second)
    await stage.until_line(first, stage.run_id)
    return held


@shape(LoginStage, Kind.RUN, Kind.SESSION)
async def run_that_waits_for_a_login(stage: LoginStage) -> None:
    held = await _two_runs(stage)
    held.end(completed())
    stage.outcome = await stage.ended()
    await stage.until_line(None)


@shape(LoginStage, Kind.RUN, Kind.SESSION)
async def run_canceled_as_it_waits_for_a_login(stage: LoginStage) -> None:
    await _two_runs(stage)
    await stage.cancel()
    stage.outcome = await stage.ended()
    await stage.until_line(f"{stage.run_id}-first")


@shape(LoginStage, Kind.RUN)
async def run_that_waits_too_long_for_a_login(stage: LoginStage) -> None:
    await _two_runs(stage, queue_timeout=timedelta(seconds=2))
    stage.outcome = await stage.ended()
    await stage.until_line(f"{stage.run_id}-first")


@shape(LoginStage, Kind.RUN, Kind.SESSION)
async def session_deleted_while_a_run_waits_for_its_login(stage: LoginStage) -> None:
    await _two_runs(stage)
    await stage.delete()
    stage.outcome = await stage.ended()
    await stage.closed()


@shape(LoginStage, Kind.VALIDATE, Kind.SESSION)
async def validate_and_update_between_two_runs(stage: LoginStage) -> None:
    """The Validate and the Update have no Run, so each waits for its turn."""
    held = await _two_runs(stage)
    before = (f"{stage.run_id}-first", stage.run_id, stage.validate_id)
    await stage.validate(takes_lease=True)
    await stage.until_line(*before)
    update = await stage.update("update")
    await stage.until_line(*before, update.run_id)
    held.end(completed())
    stage.outcome = await stage.validated()
    assert (await stage.outcome_of(update.run_id)).status is RunStatus.COMPLETED
    await stage.until_line(None)


@shape(LoginStage, Kind.SESSION, server=Server.OWN_SKIPPING)
async def run_terminated_that_uses_a_login(stage: LoginStage) -> None:
    """In Temporal itself; another one waits for the login, and has it a minute later."""
    await _two_runs(stage)
    await stage.client.get_workflow_handle(f"{stage.run_id}-first").terminate()
    await stage.pass_time(seconds=31, held=True)
    assert (await stage.view()).lease.holder == f"{stage.run_id}-first", "something of it may still run"
    await stage.pass_time(seconds=31, held=True)
    stage.outcome = await stage.ended()
