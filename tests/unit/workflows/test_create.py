"""Workflow `Create`, and what becomes of its AuthSession, shape by shape (docs/contract.md, section 10, rule 6)."""

from datetime import timedelta
from typing import Any

import pytest

from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import AttemptKind, StopInput
from callboard.schemas.workflow.auth import (
    AuthSessionStatus,
    CheckReport,
    DeleteStatesInput,
    Imported,
    LoginState,
    SavedBack,
)
from callboard.schemas.workflow.proxy import SealedProxy, owned_by_auth_session
from callboard.schemas.workflow.run import ErrorCode, RunStatus, RunType
from callboard.schemas.workflow.trace import TraceMode
from tests.support.auth_stage import FIRST, ID, LoginStage, bad, not_made
from tests.support.run_outcomes import assert_canceled, assert_failed
from tests.support.run_stage import ends, scheduled
from tests.support.stage import WORKSPACE
from workflows import visibility

MADE = LoginState(login_version=1, key="state-1", parameters_key="parameters-create")
OWN = SealedProxy(server="http://proxy.test:1", password="sealed", owner=owned_by_auth_session(ID))


async def test_a_create_is_made_and_checked_until_both_are_good(play_login: Any):
    stage = await play_login("session-made")
    assert (stage.outcome.status, stage.outcome.login, stage.outcome.attempts) == (RunStatus.COMPLETED, MADE, 4)
    assert [input.number for input in stage.created] == [1, 2]
    assert [(input.number, input.auth.initial_login) for input in stage.checked] == [(3, MADE), (4, MADE)]
    assert stage.forgotten == [DeleteStatesInput(project=stage.project, owner=ID)], "once it is deleted"


async def test_a_create_is_ordered_with_all_that_it_was_asked_for_with(login_stage: LoginStage):
    await login_stage.open(input := login_stage.login_spec("create", trace=TraceMode.ALWAYS, proxy=OWN))
    await login_stage.outcome_of(input.run_id)
    ((create,), (check,)) = login_stage.created, login_stage.checked
    for attempt in (create, check):
        assert (attempt.workspace, attempt.project, attempt.run_id) == (WORKSPACE, login_stage.project, input.run_id)
        assert (attempt.version, attempt.request_timeout) == (input.version, timedelta(minutes=10))
        assert (attempt.trace, attempt.proxy, attempt.parent_run_id) == (TraceMode.ALWAYS, OWN, None)
        assert attempt.auth
        assert (attempt.auth.ref, attempt.auth.parameters_key) == (login_stage.ref, "parameters-create")
    assert (create.kind, create.api) == (AttemptKind.CREATE, "auth-sessions/create")
    assert (check.kind, check.api) == (AttemptKind.CHECK, "auth-sessions/check")
    assert [
        (activity.activity_id, activity.retry_policy.maximum_attempts)
        for activity in scheduled(await login_stage.events(input.run_id))
    ] == [("create-1", 2), ("check-2", 2)]
    description = await login_stage.client.get_workflow_handle(input.run_id).describe()
    memo = await description.memo()
    assert (memo["workspace"], "parentRunId" in memo) == (WORKSPACE, False)
    assert description.typed_search_attributes[visibility.RUN_TYPE] == RunType.AUTH_SESSION_CREATE


@pytest.mark.parametrize(
    ("shape", "code", "message", "tries", "wrapped"),
    [
        ("session-not-made", ErrorCode.CREATE_ATTEMPTS_FAILED, "the password is wrong", (2, 0), True),
        ("session-made-but-bad", ErrorCode.POST_CREATE_CHECK_ATTEMPTS_FAILED, "not true", (1, 2), True),
        ("create-cannot-be-called", ErrorCode.SCRIPT_EXECUTION_EXCEPTION, "no function `create`", (1, 0), False),
        ("creates-lost", ErrorCode.CREATE_ATTEMPTS_FAILED, "was lost", (2, 0), True),
    ],
)
async def test_an_auth_session_that_could_not_be_made_leaves_nothing(
    play_login: Any, shape: str, code: ErrorCode, message: str, tries: tuple[int, int], wrapped: bool
):
    stage = await play_login(shape)
    details = assert_failed(stage.outcome, code, message)
    assert details.get("attempts_count") == (sum(tries) if wrapped else None)
    assert details.get("last_error", {}).get("message") == (stage.outcome.error.message if wrapped else None)
    assert [lost.number for lost in stage.lost] == ([2] if shape == "creates-lost" else [])
    assert (len(stage.created), len(stage.checked)) == tries
    assert stage.outcome.attempts == sum(tries)
    assert stage.forgotten == [DeleteStatesInput(project=stage.project, owner=ID)]


@pytest.mark.parametrize("shape", ["create-worker-lost", "create-lost-after-it-was-made"])
async def test_a_create_whose_worker_is_lost_is_tried_again(play_login: Any, shape: str):
    stage = await play_login(shape)
    assert (stage.outcome.status, stage.outcome.attempts) == (RunStatus.COMPLETED, 3), "two creates and a check"
    assert [input.number for input in stage.created] == [1, 2]
    assert await stage.status() is AuthSessionStatus.READY


@pytest.mark.parametrize(
    ("shape", "number", "checked"), [("create-canceled", 1, 0), ("create-canceled-in-its-check", 2, 1)]
)
async def test_a_create_that_is_canceled_is_stopped_at_once_and_leaves_nothing(
    play_login: Any, shape: str, number: int, checked: int
):
    stage = await play_login(shape)
    assert_canceled(stage.outcome)
    assert stage.outcome.attempts == number
    assert stage.stops == [StopInput(run_id=stage.created[0].run_id, number=number)]
    assert (len(stage.created), len(stage.checked)) == (1, checked)
    assert stage.forgotten == [DeleteStatesInput(project=stage.project, owner=ID)]


# Update.


async def test_an_update_replaces_login_parameters_and_status(play_login: Any):
    stage = await play_login("session-updated")
    view = await stage.view()
    second = LoginState(login_version=2, key="state-2", parameters_key="parameters-update")
    assert (view.status, view.login, view.pending_run_id) == (AuthSessionStatus.READY, second, None)
    assert stage.outcome.login == second
    description = await stage.client.get_workflow_handle(stage.created[0].run_id).describe()
    assert description.typed_search_attributes[visibility.RUN_TYPE] == RunType.AUTH_SESSION_UPDATE


async def test_an_update_that_fails_leaves_the_old_login_and_the_old_parameters(play_login: Any):
    stage = await play_login("session-not-updated")
    assert_failed(stage.outcome, ErrorCode.POST_CREATE_CHECK_ATTEMPTS_FAILED, "not true")
    view = await stage.view()
    assert (view.status, view.login, view.pending_run_id) == (AuthSessionStatus.READY, FIRST, None)
    assert stage.forgotten == []


async def updated(stage: LoginStage, name: str, **fields: Any) -> None:
    """An Update that has been taken up, whatever it came to."""
    await stage.outcome_of((await stage.update(name, **fields)).run_id)
    await stage.until_view(lambda view: view.pending_run_id is None)


async def test_a_create_uses_the_parameters_of_the_last_good_update(login_stage: LoginStage):
    await login_stage.open()
    await updated(login_stage, "good")
    login_stage.creates.append(ends(not_made(final=True)))
    await login_stage.session.signal(names.CHECKED, CheckReport(login_version=2, good=False))
    await updated(login_stage, "bad")
    assert await login_stage.status() is AuthSessionStatus.EXPIRED, "as it was before the Update that has failed"
    login_stage.valid.clear()
    await login_stage.validate()
    assert (await login_stage.validated()).status is RunStatus.COMPLETED
    used = [input.auth.parameters_key for input in login_stage.created if input.auth]
    assert used == ["parameters-good", "parameters-bad", "parameters-good"]
    assert (await login_stage.view()).parameters_key == "parameters-good"


async def test_an_auth_session_keeps_no_proxy_but_its_own(login_stage: LoginStage):
    await login_stage.open()
    await updated(login_stage, "own", proxy=OWN)
    assert (await login_stage.view()).proxy == OWN
    await updated(login_stage, "of-the-settings", proxy=SealedProxy(server="http://proxy.test:2"))
    assert (await login_stage.view()).proxy is None


async def test_updates_come_one_after_the_other(login_stage: LoginStage):
    held = login_stage.hold(login_stage.creates)
    await login_stage.open()
    first, second = await login_stage.update("first"), await login_stage.update("second")
    await held.began.wait()
    assert (await login_stage.view()).pending_run_id == first.run_id
    assert await login_stage.creates_begun() == [first.run_id]
    held.end(bad(None, final=True))
    await login_stage.outcome_of(second.run_id)
    view = await login_stage.until_view(lambda view: view.pending_run_id is None)
    assert (view.login_version, view.parameters_key) == (2, "parameters-second")


# Records, by a person.


async def test_a_record_that_is_lost_is_made_again_and_its_login_is_checked(play_login: Any):
    stage = await play_login("session-recorded")
    (lost, made), (check,) = stage.created, stage.checked
    assert (made.kind, made.api, made.parameters.text) == (
        AttemptKind.RECORD,
        "auth-sessions/record",
        '{"startUrl": "https://shop.test/login"}',
    )
    assert (lost.number, made.number, made.variables) == (1, 2, None)
    login = LoginState(login_version=1, key="state-1")
    assert (check.kind, check.number, check.auth.initial_login) == (AttemptKind.CHECK, 3, login)
    assert (stage.outcome.status, stage.outcome.login) == (RunStatus.COMPLETED, login)
    description = await stage.client.get_workflow_handle(made.run_id).describe()
    assert description.typed_search_attributes[visibility.RUN_TYPE] == RunType.AUTH_SESSION_RECORD


async def test_who_declines_is_not_asked_again_and_nothing_is_left(play_login: Any):
    stage = await play_login("session-declined")
    assert stage.outcome.status is RunStatus.CANCELED
    assert "not my account" in stage.outcome.reason.message
    assert (len(stage.created), stage.checked) == (1, [])
    assert stage.forgotten == [DeleteStatesInput(project=stage.project, owner=ID)]


async def test_a_renewal_keeps_what_it_begins_with_and_one_that_fails_leaves_the_old_login(login_stage: LoginStage):
    login_stage.recorder()
    await login_stage.open()
    renewed = login_stage.record_spec("renewed", proxy=OWN)
    login_stage.creates.extend([login_stage.make, ends(not_made("nobody has come", final=True))])
    for spec in (renewed, login_stage.record_spec("in-vain", start_url="https://other.test", proxy=None)):
        await login_stage.session.signal(names.UPDATE_LOGIN, spec)
        await login_stage.outcome_of(spec.run_id)
        await login_stage.until_view(lambda view: view.pending_run_id is None)
    view = await login_stage.view()
    assert (view.login_version, view.start_url, view.proxy) == (2, renewed.start_url, OWN)
    assert (view.status, login_stage.forgotten) == (AuthSessionStatus.READY, [])


async def test_an_import_stays_that_comes_while_a_person_records_in_vain(login_stage: LoginStage):
    login_stage.recorder()
    held = login_stage.hold(login_stage.creates)
    await login_stage.open(spec := login_stage.record_spec("record"))
    await held.began.wait()
    await login_stage.session.signal(names.IMPORTED, Imported(key="imported"))
    held.end(not_made("nobody has come", final=True))
    await login_stage.outcome_of(spec.run_id)
    await login_stage.session.signal(names.SAVED_BACK, SavedBack(before="imported", after="used"))
    view = await login_stage.until_view(lambda view: view.state_key == "used")
    assert (view.status, view.pending_run_id) == (AuthSessionStatus.READY, None)


# Delete.


@pytest.mark.parametrize(
    ("shape", "stopped", "is_canceled"),
    [
        ("session-deleted-while-a-create-is-waited-for", [1], False),
        ("session-deleted-as-a-create-is-about-to-end", None, False),
        ("session-deleted-before-an-update", None, True),  # which does not begin
    ],
)
async def test_after_a_delete_no_login_is_kept_or_made(
    play_login: Any, shape: str, stopped: list[int] | None, is_canceled: bool
):
    stage = await play_login(shape)
    assert await stage.creates_begun() == [stage.created[0].run_id]
    assert (stage.outcome.status is RunStatus.CANCELED) is is_canceled
    if stopped is not None:
        assert stage.stops == [StopInput(run_id=stage.created[0].run_id, number=number) for number in stopped]
    assert stage.forgotten == [DeleteStatesInput(project=stage.project, owner=ID)]
