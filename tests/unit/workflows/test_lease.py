"""Runs that take turns to use a login (docs/contract.md, section 10, rule 13)."""

import asyncio
from datetime import timedelta
from typing import Any

from temporalio.api.enums.v1 import EventType

from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import AttemptInput, AttemptOutcome
from callboard.schemas.workflow.auth import CheckReport
from callboard.schemas.workflow.auth_session import LeaseRequest
from callboard.schemas.workflow.run import ErrorCode, ReasonType, RunStatus
from tests.support.auth_stage import AT, ID, LoginStage, bad, good, made_by
from tests.support.present import present
from tests.support.run_outcomes import assert_canceled
from tests.support.run_stage import HeldAttempt, completed, ends, failed, scheduled
from tests.support.temporal_servers import LONG_HISTORY


async def test_runs_use_the_login_one_after_the_other_in_their_order(login_stage: LoginStage):
    run_ids = [f"{login_stage.run_id}-{number}" for number in range(5)]
    uses: list[str] = []
    held = HeldAttempt(login_stage)

    async def check(input: AttemptInput) -> AttemptOutcome:
        uses.append(str(input.parent_run_id))
        return good()

    async def attempt(input: AttemptInput) -> AttemptOutcome:
        uses.append(input.run_id)
        return await (held if input.run_id == run_ids[0] else ends(completed()))(input)

    login_stage.checks.extend([check] * len(run_ids))
    await login_stage.serve(attempt)
    await login_stage.bring_up()
    for number, run_id in enumerate(run_ids, start=1):
        await login_stage.start(run_id, auth=login_stage.auth(is_exclusive=True))
        await login_stage.until_line(*run_ids[:number])
    # One that was started before, asks only now, and has ended when its turn comes.
    await login_stage.session.signal(names.ACQUIRE_LEASE, LeaseRequest(run_id="run-that-has-ended", at=AT))
    await login_stage.until_line(run_ids[0], "run-that-has-ended", *run_ids[1:])
    held.end(completed())
    outcomes = await asyncio.gather(*(login_stage.outcome_of(run_id) for run_id in run_ids))
    assert [outcome.status for outcome in outcomes] == [RunStatus.COMPLETED] * len(run_ids)
    assert uses == [run_id for run_id in run_ids for _ in ("check", "attempt")]
    await login_stage.until_line(None)


async def test_a_run_that_waits_is_pending_and_begins_when_the_other_has_ended(play_login: Any):
    stage = await play_login("run-that-waits-for-a-login")
    assert (stage.outcome.status, stage.outcome.attempts) == (RunStatus.COMPLETED, 1)
    first = await stage.events(f"{stage.run_id}-first")
    check = await stage.events(f"{stage.run_id}-v1")
    told = [each for each in first if each.event_type == EventType.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED]
    assert told[-1].event_time.ToNanoseconds() < check[0].event_time.ToNanoseconds()


async def test_other_runs_of_the_login_are_not_held(login_stage: LoginStage):
    login_stage.valid = {1}
    held = HeldAttempt(login_stage)
    alone = f"{login_stage.run_id}-alone"

    async def attempt(input: AttemptInput) -> AttemptOutcome:
        return await (held if input.run_id == alone else ends(completed()))(input)

    await login_stage.serve(attempt)
    await login_stage.bring_up()
    await login_stage.start(alone, auth=login_stage.auth(is_exclusive=True))
    await held.began.wait()
    await login_stage.start(auth=login_stage.auth())
    assert (await login_stage.ended()).status is RunStatus.COMPLETED
    held.end(completed())
    assert (await login_stage.outcome_of(alone)).status is RunStatus.COMPLETED


async def test_who_asks_once_more_keeps_its_turn_though_another_was_started_before(login_stage: LoginStage):
    login_stage.valid = {1}
    held = HeldAttempt(login_stage)
    await login_stage.serve(held)
    await login_stage.bring_up()
    await login_stage.start(auth=login_stage.auth(is_exclusive=True))
    await held.began.wait()
    login_stage.valid = set()
    create = login_stage.hold(login_stage.creates)
    await login_stage.validate()
    await create.began.wait()  # the AuthSession does nothing else until it has ended
    for run_id in (login_stage.run_id, "run-started-before"):
        await login_stage.session.signal(names.ACQUIRE_LEASE, LeaseRequest(run_id=run_id, at=AT))
    create.end(good(made_by(login_stage.created[0])))
    await login_stage.until_line(login_stage.run_id, "run-started-before")
    held.end(completed())
    assert (await login_stage.ended()).status is RunStatus.COMPLETED


async def test_a_run_that_is_canceled_as_it_waits_leaves_the_line(play_login: Any):
    stage = await play_login("run-canceled-as-it-waits-for-a-login")
    assert_canceled(stage.outcome)
    assert (stage.outcome.attempts, stage.outcome.started_at) == (0, None)


async def test_the_queue_timeout_counts_the_wait(play_login: Any):
    stage = await play_login("run-that-waits-too-long-for-a-login")
    assert (stage.outcome.status, stage.outcome.attempts) == (RunStatus.FAILED, 0)
    error = present(stage.outcome.error)
    assert (error.code, error.retirable) == (ErrorCode.QUEUE_TIMEOUT, True)
    assert "Other Runs used the login" in error.message


async def test_the_wait_for_a_machine_may_last_for_what_is_left_of_it(login_stage: LoginStage):
    login_stage.valid = {1}
    await login_stage.serve(ends(completed()))
    await login_stage.bring_up()
    limit = timedelta(hours=1)
    await login_stage.start(auth=login_stage.auth(is_exclusive=True), queue_timeout=limit)
    await login_stage.ended()
    (check,) = scheduled(await login_stage.events(f"{login_stage.run_id}-v1"))
    assert timedelta(minutes=50) < check.schedule_to_start_timeout.ToTimedelta() < limit


async def test_the_session_is_deleted_as_a_run_waits(play_login: Any):
    stage = await play_login("session-deleted-while-a-run-waits-for-its-login")
    assert (stage.outcome.status, stage.outcome.attempts) == (RunStatus.CANCELED, 0)
    reason = present(stage.outcome.reason)
    assert reason.type is ReasonType.VALIDATE_FAILED
    assert ID in reason.message


async def test_there_is_no_session_whose_login_it_could_use(login_stage: LoginStage):
    await login_stage.serve(ends(completed()))
    await login_stage.start(auth=login_stage.auth(is_exclusive=True))
    assert present((await login_stage.ended()).reason).type is ReasonType.VALIDATE_FAILED
    await login_stage.validate(takes_lease=True)
    assert present((await login_stage.validated()).error).code is ErrorCode.CHECK_ATTEMPTS_FAILED


async def test_a_validate_and_an_update_wait_for_their_turn(play_login: Any):
    stage = await play_login("validate-and-update-between-two-runs")
    users = [input.parent_run_id or input.run_id for input in stage.checked]
    (created,) = stage.created
    assert users == [f"{stage.run_id}-first", stage.run_id, stage.validate_id, created.run_id]


async def test_who_uses_the_login_has_it_made_anew_before_an_update_that_waits(login_stage: LoginStage):
    held = HeldAttempt(login_stage)
    login_stage.checks.append(held)
    await login_stage.serve(ends(completed()))
    await login_stage.bring_up()
    await login_stage.start(auth=login_stage.auth(is_exclusive=True, check_attempts=1))
    await held.began.wait()
    update = await login_stage.update("update")
    await login_stage.until_line(login_stage.run_id, update.run_id)
    view = await login_stage.view()
    assert view.lease.parameters_key == update.parameters_key
    held.end(bad())
    assert (await login_stage.ended()).status is RunStatus.COMPLETED
    assert (await login_stage.outcome_of(update.run_id)).status is RunStatus.COMPLETED
    assert [each.run_id == update.run_id for each in login_stage.created] == [False, True]


async def test_a_create_that_outlives_its_run_holds_up_the_next(login_stage: LoginStage):
    create = login_stage.hold(login_stage.creates)
    await login_stage.serve(ends(completed()))
    await login_stage.bring_up()
    await login_stage.start(first := f"{login_stage.run_id}-first", auth=login_stage.auth(is_exclusive=True))
    await create.began.wait()
    await login_stage.start(auth=login_stage.auth(is_exclusive=True))
    await login_stage.cancel(first)
    await login_stage.outcome_of(first)
    await login_stage.until("EXTERNAL_WORKFLOW_EXECUTION_SIGNALED", of=login_stage.run_id)
    checked = len(login_stage.checked)
    login_stage.valid.add(2)
    create.end(good(made_by(login_stage.created[0])))
    assert (await login_stage.ended()).status is RunStatus.COMPLETED
    assert [input.parent_run_id for input in login_stage.checked[checked:]] == [login_stage.run_id]


async def test_a_run_that_was_terminated_loses_its_lease_within_a_minute(play_login: Any):
    stage = await play_login("run-terminated-that-uses-a-login")
    assert stage.outcome.status is RunStatus.COMPLETED
    assert stage.outcome.attempts == 1


async def test_those_that_wait_keep_their_places_in_a_fresh_history(login_stage: LoginStage):
    login_stage.valid = {1}
    held = HeldAttempt(login_stage)
    first, second, third = (f"{login_stage.run_id}-{number}" for number in range(3))

    async def attempt(input: AttemptInput) -> AttemptOutcome:
        return await (held if input.run_id == first else ends(completed()))(input)

    await login_stage.serve(attempt)
    await login_stage.bring_up()
    await login_stage.start(first, auth=login_stage.auth(is_exclusive=True))
    await held.began.wait()
    await login_stage.start(second, auth=login_stage.auth(is_exclusive=True))
    await login_stage.until_line(first, second)
    await login_stage.start(third, auth=login_stage.auth(is_exclusive=True))
    await login_stage.until_line(first, second, third)
    update = await login_stage.update("update")
    for _ in range(LONG_HISTORY):
        await login_stage.session.signal(names.CHECKED, CheckReport(login_version=1, good=True))
    await login_stage.until_continued()
    await login_stage.until_line(first, second, third, update.run_id)
    held.end(completed())
    assert (await login_stage.outcome_of(update.run_id)).status is RunStatus.COMPLETED
    users = [input.run_id for input in login_stage.inputs]
    assert users == [first, second, third]


async def test_a_run_that_has_begun_waits_without_a_limit_for_an_auth_session_that_is_another_one(
    login_stage: LoginStage,
):
    login_stage.valid = {1}
    mine, others = HeldAttempt(login_stage), HeldAttempt(login_stage)

    async def attempt(input: AttemptInput) -> AttemptOutcome:
        return await (others if input.run_id != login_stage.run_id else mine)(input)

    await login_stage.serve(attempt, ends(completed()))
    await login_stage.bring_up()
    limit = timedelta(minutes=5)
    await login_stage.start(auth=login_stage.auth(is_exclusive=True), queue_timeout=limit)
    await mine.began.wait()
    await login_stage.delete()
    await login_stage.closed()
    await login_stage.bring_up()
    await login_stage.start(other := f"{login_stage.run_id}-other", auth=login_stage.auth(is_exclusive=True))
    await others.began.wait()
    before = await _waits(login_stage)
    mine.end(failed())
    await login_stage.until("TIMER_STARTED", len(before) + 1)
    assert (await _waits(login_stage))[-1] > limit, "it has begun, and the limit is one for its beginning"
    await login_stage.until_line(other, login_stage.run_id)
    others.end(completed())
    outcome = await login_stage.ended()
    assert (outcome.status, outcome.attempts) == (RunStatus.COMPLETED, 2)


async def _waits(stage: LoginStage) -> list[timedelta]:
    """How long the stage's Run has waited at most, each time."""
    timers = [each for each in await stage.events() if each.event_type == EventType.EVENT_TYPE_TIMER_STARTED]
    return [each.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta() for each in timers]
