"""The shapes that an AuthSession and its Creates can take: each is played by the tests, and recorded."""

from __future__ import annotations

from typing import Any

from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import (
    AttemptOutcome,
    AttemptStatus,
    InterruptedInput,
    StopInput,
)
from callboard.schemas.workflow.auth import AuthSessionStatus, CheckReport, Imported, SavedBack
from callboard.schemas.workflow.run import ReasonType, RunOutcome, RunReason
from callboard.schemas.workflow.trace import TraceMode
from callboard.temporal.closing import wait_for_outcome
from tests.support.auth_stage import START_URL, Kind, LoginStage, bad, good, made_but_bad, made_by, not_made, scripted
from tests.support.run_stage import LOST, Gone, HeldAttempt, ends, raises
from tests.support.stage import Server, shape
from tests.support.temporal_servers import LONG_HISTORY

DECLINED = AttemptOutcome(
    status=AttemptStatus.CANCELED,
    reason=RunReason(type=ReasonType.CANCELLED_USER_ACTION, message="A person has declined: not my account"),
)
"""What a record comes to whose Handoff is declined."""


def _create(name: str, *recorded: Kind, **script: Any) -> None:
    """Keep a shape of a Create that fails, and so leaves no AuthSession."""

    async def start(stage: LoginStage) -> RunOutcome:
        await stage.bring_up(input := stage.login_spec("create"))
        outcome = await stage.outcome_of(input.run_id)
        await stage.closed()
        return outcome

    scripted(start, name, *recorded, session=False, **script)


def _update(name: str, *recorded: Kind, **script: Any) -> None:
    async def start(stage: LoginStage) -> RunOutcome:
        return await stage.outcome_of((await stage.update("update")).run_id)

    scripted(start, name, *recorded, then=AuthSessionStatus.READY, **script)


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


# Create, when more happens.


@shape(LoginStage, Kind.CREATE, Kind.SESSION)
async def session_made(stage: LoginStage) -> None:
    """At the second try, and checked at the second try; then deleted."""
    stage.creates.append(ends(not_made()))
    stage.checks.append(ends(bad()))
    await stage.open(input := stage.login_spec("create"))
    stage.outcome = await stage.outcome_of(input.run_id)
    await stage.until_status(AuthSessionStatus.READY)
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
    await stage.until_status(AuthSessionStatus.READY)


@shape(LoginStage, Kind.CREATE, server=Server.OWN_SKIPPING)
async def create_worker_lost(stage: LoginStage) -> None:
    gone = Gone(stage, announced=True)
    stage.creates.append(gone)
    await stage.open(input := stage.login_spec("create"))
    await gone.began.wait()
    await stage.pass_time(seconds=31, held=True)
    stage.outcome = await stage.outcome_of(input.run_id)
    await stage.until_status(AuthSessionStatus.READY)


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
    await stage.until_status(AuthSessionStatus.READY)
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
    await stage.until_status(AuthSessionStatus.EXPIRED)
    await stage.until_continued()
    await stage.delete()
    await stage.closed()
