"""Workflow `Validate`, shape by shape (docs/contract.md, section 10, rule 3)."""

import json
from datetime import timedelta
from typing import Any

import pytest
from temporalio.worker import UnsandboxedWorkflowRunner

from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import AttemptKind, StopInput
from callboard.schemas.workflow.auth import AuthSessionStatus, LoginState
from callboard.schemas.workflow.auth_session import RECORD_TIMEOUT
from callboard.schemas.workflow.base import JsonRef
from callboard.schemas.workflow.run import ErrorCode, RunOutcome, RunStatus, RunType
from callboard.schemas.workflow.trace import TraceMode
from callboard.temporal.listing import read_list_item
from tests.support.auth_stage import FIRST, START_URL, LoginStage, bad, good, made_by
from tests.support.present import present
from tests.support.run_outcomes import assert_canceled, assert_failed
from tests.support.run_stage import HeldAttempt, ends, scheduled, sealed_variables
from tests.support.session_shapes import DECLINED
from tests.support.stage import WORKSPACE
from workflows import validate, visibility

EXPIRED, READY = AuthSessionStatus.EXPIRED, AuthSessionStatus.READY


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


@pytest.mark.parametrize(
    ("shape", "code", "message", "count", "checks", "creates", "status"),
    [
        ("login-bad-and-left-so", ErrorCode.CHECK_ATTEMPTS_FAILED, "no such element", 2, 2, 0, EXPIRED),
        # What is no check, or lost with its worker, says nothing about the login.
        ("check-cannot-be-called", ErrorCode.SCRIPT_EXECUTION_EXCEPTION, "has no function `check`", None, 1, 0, READY),
        ("checks-lost", ErrorCode.CHECK_ATTEMPTS_FAILED, "was lost", 8, 8, 0, READY),  # twice, and again three times
        ("login-not-made-anew", ErrorCode.CREATE_ATTEMPTS_FAILED, "the password is wrong", 2, 2, 2, EXPIRED),
        ("login-made-anew-but-bad", ErrorCode.POST_CREATE_CHECK_ATTEMPTS_FAILED, "not true", 4, 4, 1, EXPIRED),
    ],
)
async def test_without_a_good_check_the_validate_fails_with_the_last_error(
    play_login: Any,
    shape: str,
    code: ErrorCode,
    message: str,
    count: int | None,
    checks: int,
    creates: int,
    status: AuthSessionStatus,
):
    stage = await play_login(shape)
    details = assert_failed(stage.outcome, code, message)
    assert details.get("attempts_count") == count
    assert details.get("last_error", {}).get("message") == (None if count is None else stage.outcome.error.message)
    assert (numbers(stage), stage.outcome.attempts) == (list(range(1, checks + 1)), checks)
    assert [input.number for input in stage.created] == list(range(1, creates + 1))
    # The losses of others are recorded by the checks that come after them.
    assert [lost.number for lost in stage.lost] == ([2, 4, 6, 8] if shape == "checks-lost" else [])
    await stage.until_status(status)
    view = await stage.view()
    assert (view.login_version, view.pending_run_id) == (2 if shape == "login-made-anew-but-bad" else 1, None)


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


async def test_a_recorded_login_that_has_expired_is_recorded_anew_by_a_person(play_login: Any):
    stage = await play_login("login-recorded-anew-that-has-expired")
    second = LoginState(login_version=2, key="state-2")
    assert (stage.outcome.status, stage.outcome.login) == (RunStatus.COMPLETED, second)
    (record,) = stage.created
    assert (record.kind, json.loads(record.parameters.text)) == (AttemptKind.RECORD, {"startUrl": START_URL})
    assert (record.parent_run_id, record.trace) == (stage.validate_id, TraceMode.NEVER)
    assert record.request_timeout == RECORD_TIMEOUT > stage.checked[0].request_timeout
    view = await stage.view()
    assert (view.status, view.login, view.start_url) == (AuthSessionStatus.READY, second, START_URL)


async def test_why_a_person_has_declined_to_log_in_anew_is_told_to_who_waits(login_stage: LoginStage):
    login_stage.recorder()
    login_stage.creates.append(ends(DECLINED))
    await login_stage.open(start_url=START_URL)
    await login_stage.validate()
    assert_failed(await login_stage.validated(), ErrorCode.CREATE_ATTEMPTS_FAILED, "not my account")
    await login_stage.until_status(EXPIRED)


async def test_checks_and_creates_get_the_variables_of_their_time(login_stage: LoginStage):
    login_stage.on_collect = sealed_variables
    await login_stage.open()
    await login_stage.validate()
    assert (await login_stage.validated()).status is RunStatus.COMPLETED
    given = {present(input.variables).token for input in (*login_stage.checked, *login_stage.created)}
    assert given == {"sealed for check 1", "sealed for create 1", "sealed for check 3"}


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


async def test_a_login_that_is_another_by_now_is_not_made_anew(login_stage: LoginStage):
    login_stage.checks.extend([ends(bad(FIRST)), ends(bad(FIRST))])
    login_stage.valid = {2}
    await login_stage.open(login_version=2, state_key="state-2")
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


@pytest.mark.parametrize(
    ("shape", "attempts", "stopped"),
    [
        ("cancel-of-a-check", 2, [2]),
        ("cancel-of-a-check-that-is-elsewhere-by-now", 2, [1, 2]),  # on a worker that has not spoken yet
        ("cancel-of-a-validate-that-is-queued", 1, []),
        ("cancel-as-a-create-is-asked-for", 2, []),
        ("cancel-as-the-session-is-told", 2, []),
    ],
)
async def test_a_cancel_stops_the_check_where_it_is_and_nothing_follows(
    play_login: Any, shape: str, attempts: int, stopped: list[int]
):
    stage = await play_login(shape)
    assert_canceled(stage.outcome)
    assert stage.outcome.attempts == attempts
    assert stage.stops == [StopInput(run_id=stage.validate_id, number=number) for number in stopped]
    if shape == "cancel-of-a-validate-that-is-queued":
        await stage.serve_attempts()
        assert stage.checked == []
    if shape == "cancel-of-a-check":
        assert stage.created == []
        assert await stage.status() is AuthSessionStatus.READY


async def test_a_cancel_does_not_stop_the_create_that_others_may_wait_for(play_login: Any):
    stage = await play_login("cancel-while-a-create-is-waited-for")
    assert_canceled(stage.outcome)
    view = await stage.view()
    assert view.login == made_by(stage.created[0])
    assert len(stage.created) == 1


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
