"""Workflow `Validate`, shape by shape (docs/contract.md, section 10, rule 3)."""

from datetime import timedelta
from typing import Any

import pytest
from temporalio.worker import UnsandboxedWorkflowRunner

from schemas.workflow import names
from schemas.workflow.attempt import AttemptKind, StopInput
from schemas.workflow.auth import AuthSessionStatus, LoginState
from schemas.workflow.base import JsonRef
from schemas.workflow.run import ErrorCode, RunOutcome, RunStatus, RunType
from schemas.workflow.trace import TraceMode
from temporal.listing import read_list_item
from tests.support.auth_stage import FIRST, LoginStage, bad, good, made_by
from tests.support.run_outcomes import FALSY, assert_canceled, assert_failed
from tests.support.run_stage import WORKSPACE, HeldAttempt, ends, scheduled
from workflows import validate, visibility


def numbers(stage: LoginStage) -> list[int]:
    return [input.number for input in stage.checked]


# Checks.


async def test_a_login_that_is_good_is_the_outcome(play_login: Any):
    stage = await play_login("login-good")
    nothing = JsonRef(text="null", size=4)
    assert stage.outcome.ended_at is not None
    assert stage.outcome.model_copy(update={"ended_at": None}) == RunOutcome(
        status=RunStatus.COMPLETED, result=nothing, attempts=1, login=FIRST
    )
    assert stage.created == []
    assert await stage.status() is AuthSessionStatus.READY


async def test_a_check_is_ordered_with_all_that_the_validate_was_started_with(play_login: Any):
    stage = await play_login("login-good")
    (input,) = stage.checked
    assert (input.kind, input.api, input.parameters.text) == (AttemptKind.CHECK, "auth-sessions/check", "null")
    assert (input.workspace, input.project, input.run_id) == (WORKSPACE, stage.project, stage.validate_id)
    assert (input.version, input.request_timeout) == ("0123456789abcdef", timedelta(minutes=5))
    assert (input.trace, input.proxy, input.parent_run_id) == (TraceMode.NEVER, None, None)
    assert input.auth
    assert (input.auth.ref, input.auth.initial_login, input.auth.save_back) == (stage.ref, None, True)
    (check,) = scheduled(await stage.events(stage.validate_id))
    assert check.task_queue.name == f"callboard-project-{stage.project}"
    assert check.retry_policy.maximum_attempts == 2
    assert check.heartbeat_timeout.ToTimedelta().total_seconds() == 30
    assert check.priority.priority_key == names.PRIORITY_PENDING
    assert not check.schedule_to_start_timeout.ToTimedelta()


async def test_only_the_wait_for_the_first_check_is_limited(play_login: Any):
    stage = await play_login("checks-with-a-queue-timeout")
    assert (stage.outcome.status, stage.outcome.attempts) == (RunStatus.COMPLETED, 4)
    assert numbers(stage) == [1, 2, 3, 4]
    checks = scheduled(await stage.events(stage.validate_id))
    limits = [check.schedule_to_start_timeout.ToTimedelta() for check in checks]
    assert limits == [timedelta(minutes=5), timedelta()]
    assert [check.retry_policy.maximum_attempts for check in checks] == [1, 3]


async def test_a_queue_timeout_allows_no_second_check_where_there_is_one(login_stage: LoginStage):
    login_stage.checks.append(ends(bad()))
    await login_stage.open()
    await login_stage.validate(queue_timeout=timedelta(minutes=5), check_attempts=1, auto_recreate=False)
    outcome = await login_stage.validated()
    assert_failed(outcome, ErrorCode.CHECK_ATTEMPTS_FAILED, "what it returned is not true")
    assert numbers(login_stage) == [1]


@pytest.mark.parametrize(
    ("shape", "attempts", "lost"),
    [
        ("login-good-at-last", 5, []),
        ("check-lost-after-it-was-good", 1, [1]),
        ("check-worker-lost", 2, [1]),  # although it was the last that was allowed
    ],
)
async def test_the_first_good_check_passes_whatever_came_before_it(
    play_login: Any, shape: str, attempts: int, lost: list[int]
):
    stage = await play_login(shape)
    assert (stage.outcome.status, stage.outcome.attempts) == (RunStatus.COMPLETED, attempts)
    assert (numbers(stage), stage.outcome.login) == (list(range(1, attempts + 1)), FIRST)
    assert stage.created == []
    if lost:
        assert [each.number for each in stage.lost] == lost


async def test_without_auto_recreate_the_login_stays_bad_when_all_checks_are(play_login: Any):
    stage = await play_login("login-bad-and-left-so")
    details = assert_failed(stage.outcome, ErrorCode.CHECK_ATTEMPTS_FAILED, "no such element")
    error = {"code": "script-execution-exception", "category": "auth", "message": "no such element"}
    assert details == {"attempts_count": 2, "last_error": error}
    assert (numbers(stage), stage.created) == ([1, 2], [])
    assert (await stage.view()).login == FIRST


async def test_a_login_that_was_recorded_is_not_made_anew(login_stage: LoginStage):
    login_stage.recorder()
    await login_stage.open()
    await login_stage.validate()
    details = assert_failed(await login_stage.validated(), ErrorCode.CHECK_ATTEMPTS_FAILED, "not true")
    assert details == {"attempts_count": 2, "last_error": FALSY}
    await login_stage.until_status(AuthSessionStatus.EXPIRED)
    assert login_stage.created == []


async def test_a_check_that_cannot_be_called_says_nothing_about_the_login(play_login: Any):
    stage = await play_login("check-cannot-be-called")
    assert_failed(stage.outcome, ErrorCode.SCRIPT_EXECUTION_EXCEPTION, "has no function `check`")
    assert (numbers(stage), stage.created) == ([1], [])
    assert await stage.status() is AuthSessionStatus.READY


async def test_nor_do_checks_that_were_lost_with_their_workers(play_login: Any):
    stage = await play_login("checks-lost")
    details = assert_failed(stage.outcome, ErrorCode.CHECK_ATTEMPTS_FAILED, "was lost")
    assert (details["attempts_count"], details["last_error"]["code"]) == (8, "script-process-crashed")
    assert numbers(stage) == [1, 2, 3, 4, 5, 6, 7, 8], "two checks, and three times two again"
    assert [lost.number for lost in stage.lost] == [2, 4, 6, 8], "the others are recorded by those that come after"
    assert stage.created == []
    assert await stage.status() is AuthSessionStatus.READY


# A Create in between.


async def test_a_login_that_is_bad_is_made_anew_and_checked_again(play_login: Any):
    stage = await play_login("login-made-anew")
    second = LoginState(login_version=2, key="state-2", parameters_key="parameters-1")
    assert (stage.outcome.status, stage.outcome.login, stage.outcome.attempts) == (RunStatus.COMPLETED, second, 3)
    assert [input.auth.initial_login for input in stage.checked] == [None, None, second]
    (check, again) = scheduled(await stage.events(stage.validate_id))
    assert (check.activity_id, again.activity_id) == ("check-1", "check-3")
    assert again.priority.priority_key == names.PRIORITY_STARTED
    view = await stage.view()
    assert (view.status, view.login) == (AuthSessionStatus.READY, second)
    assert view.updated_at > view.created_at


async def test_it_is_made_by_a_run_of_its_own_as_the_validate_was_told_to(play_login: Any):
    stage = await play_login("login-made-anew")
    (input,) = stage.created
    assert [input.run_id] == await stage.creates_begun()
    assert input.run_id not in (stage.validate_id, stage.session.id)
    assert (input.kind, input.api, input.number) == (AttemptKind.CREATE, "auth-sessions/create", 1)
    assert (input.request_timeout, input.parent_run_id) == (timedelta(minutes=5), stage.validate_id)
    assert input.auth
    assert (input.auth.new_login_version, input.auth.parameters_key, input.auth.initial_login) == (
        2,
        "parameters-1",
        None,
    )
    description = await stage.client.get_workflow_handle(input.run_id).describe()
    assert description.typed_search_attributes[visibility.RUN_TYPE] == RunType.AUTH_SESSION_CREATE
    assert description.typed_search_attributes[visibility.AUTH_SESSION] == stage.ref.id
    assert (await read_list_item(description)).status is RunStatus.COMPLETED
    memo = await description.memo()
    assert (memo["workspace"], memo["parentRunId"]) == (WORKSPACE, stage.validate_id)
    (create,) = scheduled(await stage.events(input.run_id))
    assert (create.retry_policy.maximum_attempts, create.priority.priority_key) == (2, names.PRIORITY_STARTED)


async def test_when_no_create_succeeds_the_login_is_expired(play_login: Any):
    stage = await play_login("login-not-made-anew")
    details = assert_failed(stage.outcome, ErrorCode.CREATE_ATTEMPTS_FAILED, "the password is wrong")
    assert details["attempts_count"] == 2
    assert [input.number for input in stage.created] == [1, 2]
    assert stage.outcome.attempts == 2, "its own"
    view = await stage.view()
    assert (view.status, view.login, view.pending_run_id) == (AuthSessionStatus.EXPIRED, FIRST, None)


async def test_when_the_new_login_is_bad_the_validate_fails_and_it_is_expired(play_login: Any):
    stage = await play_login("login-made-anew-but-bad")
    details = assert_failed(stage.outcome, ErrorCode.POST_CREATE_CHECK_ATTEMPTS_FAILED, "not true")
    assert details == {"attempts_count": 4, "last_error": FALSY}
    assert (numbers(stage), len(stage.created)) == ([1, 2, 3, 4], 1)
    assert (await stage.view()).login_version == 2


async def test_a_login_that_is_another_by_now_is_not_made_anew(login_stage: LoginStage):
    login_stage.checks.extend([ends(bad(FIRST)), ends(bad(FIRST))])
    login_stage.valid = {2}
    await login_stage.open(login=2, state_key="state-2")
    await login_stage.validate()
    outcome = await login_stage.validated()
    assert outcome.login == LoginState(login_version=2, key="state-2", parameters_key="parameters-1")
    assert (numbers(login_stage), login_stage.created) == ([1, 2, 3], [])


# An AuthSession that is gone.


@pytest.mark.parametrize("shape", ["session-gone-before-the-check", "session-gone-after-the-check"])
async def test_where_there_is_no_such_auth_session_the_validate_fails(play_login: Any, shape: str):
    stage = await play_login(shape)
    assert_failed(stage.outcome, ErrorCode.CHECK_ATTEMPTS_FAILED, "deleted")
    assert stage.outcome.attempts == len(stage.checked)


async def test_who_waits_for_a_create_hears_that_the_auth_session_was_deleted(play_login: Any):
    stage = await play_login("session-deleted-while-a-create-is-waited-for")
    assert_failed(stage.outcome, ErrorCode.CHECK_ATTEMPTS_FAILED, f"AuthSession '{stage.ref.id}' is not there any more")
    assert_canceled(await stage.outcome_of(stage.created[0].run_id))


async def test_who_waits_for_a_create_that_is_canceled_hears_that(play_login: Any):
    stage = await play_login("create-canceled-that-others-wait-for")
    assert_failed(stage.outcome, ErrorCode.CREATE_ATTEMPTS_FAILED, f"Run {stage.created[0].run_id}, which was canceled")
    assert stage.outcome.error.retirable
    assert await stage.status() is AuthSessionStatus.EXPIRED


async def test_who_waits_for_an_auth_session_that_was_ended_by_hand_asks_again(
    login_stage: LoginStage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(validate, "_ASK_AGAIN_AFTER", timedelta(milliseconds=200))
    login_stage.workflow_options["workflow_runner"] = UnsandboxedWorkflowRunner()
    held = login_stage.hold(login_stage.creates)
    await login_stage.open()
    await login_stage.validate()
    await held.began.wait()
    await login_stage.until("SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED", 3, of=login_stage.validate_id)
    assert len(await login_stage.creates_begun()) == 1, "to ask again is not to ask for more"
    await login_stage.session.terminate()
    assert_failed(await login_stage.validated(), ErrorCode.CHECK_ATTEMPTS_FAILED, "deleted")
    held.end()


# Cancel.


async def test_a_cancel_stops_the_check_at_once_also_if_it_is_not_the_first(play_login: Any):
    stage = await play_login("cancel-of-a-check")
    assert_canceled(stage.outcome)
    assert stage.outcome.attempts == 2
    assert stage.stops == [StopInput(run_id=stage.validate_id, number=2)]
    assert stage.created == []
    assert await stage.status() is AuthSessionStatus.READY


async def test_a_cancel_finds_a_check_on_a_worker_that_has_not_spoken_yet(play_login: Any):
    stage = await play_login("cancel-of-a-check-that-is-elsewhere-by-now")
    assert_canceled(stage.outcome)
    assert [stop.number for stop in stage.stops] == [1, 2]


async def test_a_validate_that_is_canceled_while_it_is_queued_executes_nothing(play_login: Any):
    stage = await play_login("cancel-of-a-validate-that-is-queued")
    assert_canceled(stage.outcome)
    assert stage.outcome.attempts == 1
    await stage.serve_attempts()
    assert stage.checked == []


async def test_a_cancel_does_not_stop_the_create_that_others_may_wait_for(play_login: Any):
    stage = await play_login("cancel-while-a-create-is-waited-for")
    assert_canceled(stage.outcome)
    view = await stage.view()
    assert view.login == made_by(stage.created[0])
    assert len(stage.created) == 1


@pytest.mark.parametrize("shape", ["cancel-as-a-create-is-asked-for", "cancel-as-the-session-is-told"])
async def test_a_cancel_is_heard_also_while_a_signal_is_on_its_way(play_login: Any, shape: str):
    stage = await play_login(shape)
    assert_canceled(stage.outcome)
    assert stage.outcome.attempts == 2


async def test_a_check_that_is_good_although_it_was_told_to_stop_is_good(login_stage: LoginStage):
    held = HeldAttempt(login_stage, announced=True)

    async def too_late(_input: StopInput) -> bool:
        held.end(good())
        return True

    login_stage.on_stop = too_late
    login_stage.checks.append(held)
    await login_stage.open()
    await login_stage.validate()
    await held.began.wait()
    await login_stage.client.get_workflow_handle(login_stage.validate_id).cancel()
    outcome = await login_stage.validated()
    assert (outcome.status, outcome.login) == (RunStatus.COMPLETED, FIRST)
