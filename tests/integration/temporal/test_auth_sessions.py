"""AuthSessions on a real Temporal: made, looked at, changed and removed, with workers and without."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from temporalio.client import Client

from callboard.schemas.errors import Conflict, NotFound, Unavailable
from callboard.schemas.workflow import names
from callboard.schemas.workflow.auth import AuthSessionRef, AuthSessionStatus, AuthSessionType, SavedBack
from callboard.schemas.workflow.auth_session import AuthSessionView, LoginSpec
from callboard.schemas.workflow.run import RunStatus, RunType
from callboard.temporal import auth_sessions
from callboard.temporal.auth_sessions import AuthSessions
from callboard.temporal.runs import Runs, RunState
from tests.support.auth_session_calls import CALLS, being, validation
from tests.support.auth_stage import AT, FIRST, ID, LoginStage, good
from tests.support.encryption import with_encryption
from tests.support.run_stage import completed, ends
from tests.support.stage import WORKSPACE

ELSEWHERE = "11111111-1111-1111-1111-111111111111"
LONG = timedelta(seconds=20)


@pytest.fixture
def sessions(client: Client) -> AuthSessions:
    return AuthSessions(client)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth_sessions, "_CHANGE_TIMEOUT", timedelta(milliseconds=300))


# Create.


@with_encryption
async def test_an_auth_session_is_made_by_a_run(sessions: AuthSessions, login_stage: LoginStage, runs: Runs) -> None:
    spec = login_stage.login_spec("create")
    await sessions.create(being(login_stage, create=spec))
    view = await sessions.get(WORKSPACE, login_stage.project, ID)
    assert (view.id, view.type, view.status) == (ID, AuthSessionType.CREDENTIALS, AuthSessionStatus.PENDING)
    await login_stage.serve_attempts()
    ended = await runs.get_state(WORKSPACE, login_stage.project, spec.run_id, wait=LONG)
    assert (ended.status, ended.type, ended.auth_session_id) == (RunStatus.COMPLETED, RunType.AUTH_SESSION_CREATE, ID)
    await login_stage.until_status(AuthSessionStatus.READY)


async def test_the_run_of_a_create_and_of_an_update_can_be_read_at_once(
    sessions: AuthSessions, login_stage: LoginStage, runs: Runs
) -> None:
    async def read(spec: LoginSpec) -> RunState:
        return await runs.get_state(WORKSPACE, login_stage.project, spec.run_id)

    await login_stage.serve_attempts()
    for number in range(3):
        spec = login_stage.login_spec(f"create-{number}")
        await sessions.create(being(login_stage, f"{ID}-{number}", create=spec))
        assert (await read(spec)).type is RunType.AUTH_SESSION_CREATE
    await login_stage.bring_up()
    update = login_stage.login_spec("update", RunType.AUTH_SESSION_UPDATE)
    await sessions.update(WORKSPACE, login_stage.project, ID, update)
    assert (await read(update)).type is RunType.AUTH_SESSION_UPDATE


async def test_a_create_that_no_worker_takes_up_is_accepted(
    sessions: AuthSessions, idle_stage: LoginStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth_sessions, "_BEGIN_TIMEOUT", timedelta(milliseconds=100))
    await sessions.create(being(idle_stage, create=idle_stage.login_spec("create")))
    assert (await sessions.get(WORKSPACE, idle_stage.project, ID)).status is AuthSessionStatus.PENDING


async def test_there_is_one_auth_session_with_an_id(sessions: AuthSessions, login_stage: LoginStage) -> None:
    auth_session = being(login_stage)
    made = await asyncio.gather(*(sessions.create(auth_session) for _ in range(5)), return_exceptions=True)
    assert sorted(type(each).__name__ for each in made) == ["Conflict"] * 4 + ["NoneType"]
    with pytest.raises(Conflict, match=f"There is an AuthSession '{ID}' in project {login_stage.project} already"):
        await sessions.create(auth_session)


async def test_an_id_is_free_again_when_its_auth_session_is_gone(
    sessions: AuthSessions, login_stage: LoginStage
) -> None:
    for _ in range(2):
        await sessions.create(being(login_stage))
        await sessions.delete(WORKSPACE, login_stage.project, ID)


async def test_an_auth_session_can_be_found_by_operators(sessions: AuthSessions, login_stage: LoginStage) -> None:
    await sessions.create(being(login_stage))
    description = await login_stage.session.describe()
    assert (description.id, description.workflow_type) == (f"auth:{login_stage.project}:{ID}", "AuthSession")
    assert description.task_queue == "callboard"
    assert await description.static_summary() == f"AuthSession {ID} of {login_stage.project}"
    found = {pair.key.name: pair.value for pair in description.typed_search_attributes}
    assert found | {"BuildIds": None} == {
        "CallboardProject": login_stage.project,
        "CallboardAuthSession": ID,
        "BuildIds": None,
    }


# View.


async def test_how_it_stands_can_be_read_without_a_worker(sessions: AuthSessions, idle_stage: LoginStage) -> None:
    await idle_stage.bring_up(status=AuthSessionStatus.EXPIRED)
    view = await sessions.get(WORKSPACE, idle_stage.project, ID)
    assert (view.status, view.login, view.created_at) == (AuthSessionStatus.EXPIRED, FIRST, AT)


@pytest.mark.parametrize("call", CALLS)
async def test_it_belongs_to_one_project_and_workspace(
    sessions: AuthSessions, idle_stage: LoginStage, call: str
) -> None:
    await idle_stage.bring_up()
    project = idle_stage.project
    for which in ((ELSEWHERE, project, ID), (WORKSPACE, "other", ID), (WORKSPACE, project, "nobody")):
        with pytest.raises(NotFound, match="There is no such AuthSession"):
            await CALLS[call](sessions, *which)
    assert len(await idle_stage.events(idle_stage.session.id)) == 2, "no stranger has told it anything"


@pytest.mark.parametrize("call", CALLS)
async def test_one_that_is_gone_is_not_there(sessions: AuthSessions, idle_stage: LoginStage, call: str) -> None:
    await idle_stage.bring_up()
    await idle_stage.session.terminate()
    with pytest.raises(NotFound, match="There is no such AuthSession"):
        await CALLS[call](sessions, WORKSPACE, idle_stage.project, ID)


async def test_all_of_a_project_are_listed_by_id(sessions: AuthSessions, client: Client, name: str) -> None:
    ids = ["cleo", "ada", "bob", "gone"]
    async with LoginStage(client, name) as stage, LoginStage(client, f"{name[:40]}-other") as other:
        for id_ in ids:
            await started(stage, id_)
        await started(other, "dora")
        await started(stage, "~run-1")  # it is its Run's own affair
        await client.get_workflow_handle(names.auth_session_workflow_id(stage.project, "gone")).terminate()
        found: list[AuthSessionView] = []
        async with asyncio.timeout(20):  # a list may be a moment late
            while [view.id for view in found] != sorted(ids[:3]):
                found = await sessions.list_all(WORKSPACE, stage.project)
        assert [view.status for view in found] == [AuthSessionStatus.READY] * 3
        assert await sessions.list_all(ELSEWHERE, stage.project) == []
        assert await sessions.list_all(WORKSPACE, "nobody") == []


async def started(stage: LoginStage, id_: str) -> None:
    stage.ref = AuthSessionRef(id=id_, type=AuthSessionType.CREDENTIALS, owner=id_)
    await stage.bring_up()


# Update, record, validate.


@with_encryption
async def test_an_update_is_a_run_that_begins_when_its_auth_session_comes_to_it(
    sessions: AuthSessions, login_stage: LoginStage, runs: Runs
) -> None:
    await login_stage.serve_attempts()
    await login_stage.bring_up()
    spec = login_stage.login_spec("update", RunType.AUTH_SESSION_UPDATE)
    await sessions.update(WORKSPACE, login_stage.project, ID, spec)
    ended = await runs.get_state(WORKSPACE, login_stage.project, spec.run_id, wait=LONG)
    assert (ended.status, ended.type, ended.auth_session_id) == (RunStatus.COMPLETED, RunType.AUTH_SESSION_UPDATE, ID)
    assert (await login_stage.until_view(lambda view: view.login_version == 2)).parameters_key == spec.parameters_key


async def test_one_of_the_recorder_has_its_new_state_when_that_is_answered(
    sessions: AuthSessions, login_stage: LoginStage
) -> None:
    login_stage.recorder()
    await login_stage.bring_up(status=AuthSessionStatus.EXPIRED)
    view = await sessions.replace_state(WORKSPACE, login_stage.project, ID, "state-2")
    assert (view.status, view.login_version, view.state_key) == (AuthSessionStatus.READY, 2, "state-2")


async def test_also_if_a_run_has_saved_another_back_by_then(sessions: AuthSessions, idle_stage: LoginStage) -> None:
    idle_stage.recorder()
    await idle_stage.bring_up()
    recording = asyncio.create_task(sessions.replace_state(WORKSPACE, idle_stage.project, ID, "state-2"))
    await idle_stage.until("WORKFLOW_EXECUTION_SIGNALED", of=idle_stage.session.id)
    await idle_stage.session.signal(names.SAVED_BACK, SavedBack(before="state-2", after="newer"))
    await idle_stage.serve_runs()
    assert (await asyncio.wait_for(recording, 10)).state_key == "newer"


async def test_a_validate_is_a_run_of_its_own(sessions: AuthSessions, login_stage: LoginStage, runs: Runs) -> None:
    check = login_stage.hold(login_stage.checks)
    await login_stage.bring_up()
    run_id = login_stage.validate_id[:60]
    await sessions.validate(run_id, validation(login_stage))
    kind = (RunType.AUTH_SESSION_VALIDATE, ID)
    assert await runs.get_state(WORKSPACE, login_stage.project, run_id) == RunState(
        run_id, RunStatus.PENDING, None, *kind
    )
    await login_stage.serve_attempts()
    await check.began.wait()
    assert await runs.get_state(WORKSPACE, login_stage.project, run_id) == RunState(
        run_id, RunStatus.STARTED, None, *kind
    )
    check.end(good())
    ended = await runs.get_state(WORKSPACE, login_stage.project, run_id, wait=LONG)
    assert (ended.status, ended.type, ended.auth_session_id) == (RunStatus.COMPLETED, *kind)
    assert ended.outcome
    assert ended.outcome.login == FIRST


async def test_a_run_of_a_project_that_logs_in_says_which_auth_session_it_uses(
    login_stage: LoginStage, runs: Runs
) -> None:
    login_stage.valid = {1}
    await login_stage.serve_attempts(ends(completed()))
    await login_stage.bring_up()
    await login_stage.start(auth=login_stage.auth())
    ended = await runs.get_state(WORKSPACE, login_stage.project, login_stage.run_id, wait=LONG)
    assert (ended.status, ended.type, ended.auth_session_id) == (RunStatus.COMPLETED, RunType.API, ID)
    assert (await runs.get_state(WORKSPACE, login_stage.project, f"{login_stage.run_id}-v1")).auth_session_id == ID


async def test_an_auth_session_is_no_run_whatever_its_id(idle_stage: LoginStage, runs: Runs) -> None:
    await idle_stage.bring_up()
    with pytest.raises(NotFound):
        await runs.get_state(WORKSPACE, idle_stage.project, idle_stage.session.id)
    description = await idle_stage.session.describe()
    await idle_stage.client.start_workflow(
        names.AUTH_SESSION,
        id=idle_stage.run_id,
        task_queue=idle_stage.queue,
        memo={names.MEMO_WORKSPACE: WORKSPACE},
        search_attributes=description.typed_search_attributes,
    )
    with pytest.raises(NotFound):
        await runs.get_state(WORKSPACE, idle_stage.project, idle_stage.run_id)


# Delete.


@with_encryption
async def test_a_delete_returns_when_it_is_gone(sessions: AuthSessions, login_stage: LoginStage) -> None:
    await login_stage.bring_up()
    await sessions.delete(WORKSPACE, login_stage.project, ID)
    with pytest.raises(NotFound):
        await sessions.get(WORKSPACE, login_stage.project, ID)


async def test_without_a_worker_a_delete_says_that_it_will_be_done(
    sessions: AuthSessions, idle_stage: LoginStage, impatient: None
) -> None:
    await idle_stage.bring_up()
    with pytest.raises(Unavailable, match="will be deleted, but no worker"):
        await sessions.delete(WORKSPACE, idle_stage.project, ID)
    await idle_stage.serve_runs()
    await idle_stage.closed()


async def test_without_a_worker_a_recording_says_that_it_will_be_done(
    sessions: AuthSessions, idle_stage: LoginStage, impatient: None
) -> None:
    idle_stage.recorder()
    await idle_stage.bring_up()
    with pytest.raises(Unavailable, match="will be replaced, but no worker"):
        await sessions.replace_state(WORKSPACE, idle_stage.project, ID, "state-2")
    await idle_stage.serve_runs()
    await idle_stage.until_view(lambda view: view.state_key == "state-2")


async def test_one_that_is_ended_in_temporal_while_it_is_deleted_is_gone(
    sessions: AuthSessions, idle_stage: LoginStage
) -> None:
    await idle_stage.bring_up()
    deleting = asyncio.create_task(sessions.delete(WORKSPACE, idle_stage.project, ID))
    await idle_stage.until("WORKFLOW_EXECUTION_SIGNALED", of=idle_stage.session.id)
    await idle_stage.session.terminate()
    await asyncio.wait_for(deleting, 10)
