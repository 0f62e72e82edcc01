"""The shapes that Runs with an AuthSession can take: each is played by the tests, and recorded."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio.exceptions import ApplicationError

from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import (
    AUTH_SESSION_GONE,
    AttemptInput,
    AttemptOutcome,
)
from callboard.schemas.workflow.run import RunOutcome, RunStatus
from tests.support.auth_stage import Kind, LoginStage, scripted
from tests.support.run_stage import HeldAttempt, Part, completed, ends, failed, interrupted, raises
from tests.support.stage import Server, shape

_GONE = ApplicationError("It was deleted.", type=AUTH_SESSION_GONE, non_retryable=True)


def _run(name: str, *recorded: Kind, **script: Any) -> None:
    """Keep a shape of a Run whose first login is good."""

    async def start(stage: LoginStage) -> RunOutcome:
        await stage.start(auth=stage.auth())
        return await stage.ended()

    scripted(start, name, *recorded, valid=[1], **script)


_run("run-with-a-login", Kind.RUN, attempts=[ends(failed()), ends(completed())])
_run("run-interrupted-after-its-validate", Kind.RUN, attempts=[interrupted(), ends(completed())])
_run("run-whose-session-is-deleted-before-its-attempt", Kind.RUN, attempts=[raises(_GONE), ends(completed())])


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
