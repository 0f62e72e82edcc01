import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from callboard.schemas.workflow.handoff import Handoff, HandoffKind, HandoffStatus
from callboard.schemas.workflow.run import ErrorCode, ReasonType, RunCause, RunOutcome, RunReason, RunStatus, RunType
from callboard.temporal.listing import RunFilter, RunListItem, RunPage
from callboard.temporal.runs import RunState
from tests.support.api_in_process import Api
from tests.support.dashboard_client import Pages
from tests.support.in_memory_temporal import BEGAN
from tests.support.present import present

PATH = "/projects/members/auth-sessions"
CREATE = RunListItem(
    run_id="eves",
    type=RunType.AUTH_SESSION_CREATE,
    status=RunStatus.FAILED,
    project="members",
    api=None,
    version="0" * 16,
    auth_session_id="eve",
    parent_run_id=None,
    job_id=None,
    job_run_id=None,
    tags=(),
    created_at=BEGAN,
    started_at=BEGAN,
    ended_at=BEGAN,
    attempts=1,
    parameters="",
    result="",
    waits_until=None,
    cause=RunCause(code=ErrorCode.CREATE_ATTEMPTS_FAILED, message="The site refuses it."),
    handoff=None,
)


@pytest.fixture(autouse=True)
def no_validates(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_runs(*_: Any, **__: Any) -> RunPage:
        return RunPage((), None)

    monkeypatch.setattr(api.run_queries, "list_runs", no_runs)


@pytest.fixture
def anna(api: Api) -> None:
    """AuthSession `anna@shop`."""
    api.add_auth_session("anna@shop", status="EXPIRED")


async def test_they_are_listed_with_how_they_stand(pages: Pages, anna: None):
    text = (await pages.get(PATH)).text
    assert "anna@shop" in text
    assert "expired</span>" in text
    assert "Delete “anna@shop” permanently" in text
    (told,) = (await pages.get(f"{PATH}.json")).json()["authSessions"]
    assert told | {"id": "anna@shop", "type": "CREDENTIALS", "status": "EXPIRED", "lastValidate": None} == told


async def test_what_could_not_be_created_is_told_with_its_error_and_its_run(
    api: Api, pages: Pages, anna: None, monkeypatch: pytest.MonkeyPatch
):
    creates = [
        replace(CREATE, run_id="first", created_at=BEGAN - timedelta(hours=1)),
        CREATE,
        replace(CREATE, run_id="annas", auth_session_id="anna@shop"),
        replace(CREATE, run_id="later", auth_session_id="gone", status=RunStatus.COMPLETED),
        replace(CREATE, run_id="before", auth_session_id="gone", created_at=BEGAN - timedelta(hours=1)),
        replace(CREATE, run_id="child", auth_session_id="of-a-run", parent_run_id="another"),
    ]

    async def list_runs(_workspace: str, _project: str, run_filter: RunFilter, **__: Any) -> RunPage:
        return RunPage(tuple(creates) if RunType.AUTH_SESSION_CREATE in run_filter.types else (), None)

    monkeypatch.setattr(api.run_queries, "list_runs", list_runs)
    told = (await pages.get(f"{PATH}.json")).json()["failedCreates"]
    error = {"code": "create-attempts-failed", "message": "The site refuses it."}
    assert told == [{"id": "eve", "runId": "eves", "endedAt": BEGAN.isoformat(), "error": error}]
    text = (await pages.get(PATH)).text
    assert 'href="/projects/members/runs/eves"' in text
    assert "The site refuses it." in text


async def test_one_is_created_and_its_parameters_are_not_shown_again(api: Api, pages: Pages):
    parameters = json.dumps({"user": "bob", "password": "never-shown"})
    answer = await pages.send_form(PATH, id="bob@shop", parameters=parameters, createAttempts="1")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{PATH}?done=create&name=bob%40shop")
    assert [each.ref.id for each in api.auth_sessions.created] == ["bob@shop"]
    for text, beside in ((parameters, "id"), (parameters[:-1], "parameters")):
        refused = await pages.send_form(PATH, id="x", parameters=text)
        assert refused.status_code == 400
        assert f'id="e-create-{beside}"' in refused.text
        assert "never-shown" not in refused.text
        assert 'value="x"' in refused.text
    assert len(api.auth_sessions.created) == 1


async def test_one_is_validated_updated_and_deleted(api: Api, pages: Pages, anna: None):
    validated = await pages.send_form(f"{PATH}/anna%40shop/validate")
    (run_id,) = api.auth_sessions.validates
    assert validated.headers["location"] == f"/projects/members/runs/{run_id}"
    updated = await pages.send_form(f"{PATH}/anna%40shop/update", parameters="{}")
    assert updated.headers["location"] == f"{PATH}?done=update&name=anna%40shop"
    assert len(api.auth_sessions.updates) == 1
    deleted = await pages.send_form(f"{PATH}/anna%40shop/delete")
    assert deleted.headers["location"] == f"{PATH}?done=delete&name=anna%40shop"
    assert ("members", "anna@shop") not in api.auth_sessions.known


async def test_one_that_is_a_file_of_the_project_can_be_validated_only(api: Api, pages: Pages):
    api.add_auth_session("anna@shop", from_file=True)
    text = (await pages.get(PATH)).text
    assert "a file of the project" in text
    assert f"{PATH}/anna%40shop/validate" in text
    assert f"{PATH}/anna%40shop/delete" not in text
    assert f"{PATH}/anna%40shop/update" not in text
    assert (await pages.get(f"{PATH}.json")).json()["authSessions"][0]["fromFile"]


async def test_one_is_recorded_and_recorded_anew_on_a_page_of_its_own(api: Api, pages: Pages):
    place, start_url = "/projects/recorded/auth-sessions", "https://8.8.8.8/login"
    refused = await pages.send_form(f"{place}/record", id="by-hand", startUrl="http://10.1.2.3/login")
    assert (refused.status_code, 'id="e-record-startUrl"' in refused.text) == (400, True)
    assert 'value="http://10.1.2.3/login"' in refused.text
    begun = await pages.send_form(f"{place}/record", id="by-hand", startUrl=start_url)
    (created,) = api.auth_sessions.created
    login = present(created.create)
    page = f"{place}/record/{login.run_id}"
    assert begun.headers["location"] == page
    api.add_auth_session("by-hand", "recorded", type="RECORDER", start_url=start_url)
    assert f'action="{place}/by-hand/record"' in (await pages.get(place)).text
    assert (await pages.send_form(f"{place}/by-hand/record")).status_code == 303
    assert api.auth_sessions.updates[0].start_url == start_url

    async def shown(status: RunStatus, outcome: RunOutcome | None = None, asked: Handoff | None = None) -> str:
        state = RunState(login.run_id, status, outcome, RunType.AUTH_SESSION_RECORD, "by-hand", handoff=asked)
        api.runs.logins["recorded", login.run_id] = state
        api.runs.handoffs = [] if asked is None else [asked]
        return (await pages.get(page)).text

    assert "Waiting for a Machine" in await shown(RunStatus.PENDING)
    handoff = Handoff(
        id=f"{login.run_id}.1.1",
        kind=HandoffKind.BROWSER,
        attempt=1,
        instructions="Log in there.",
        fields=(),
        status=HandoffStatus.OPEN,
        created_at=BEGAN,
        expires_at=BEGAN,
    )
    text = await shown(RunStatus.STARTED, asked=handoff)
    assert ("Log in there." in text, ">Done</button>" in text, ">Decline</button>" in text) == (True, True, True)
    assert "is recorded" in await shown(RunStatus.COMPLETED, RunOutcome(status=RunStatus.COMPLETED))
    reason = RunReason(type=ReasonType.CANCELLED_USER_ACTION, message="Not my account.")
    assert "Not my account." in await shown(RunStatus.CANCELED, RunOutcome(status=RunStatus.CANCELED, reason=reason))
    api.add_auth_session("by-hand", "recorded", type="RECORDER", start_url=start_url, pending_run_id=login.run_id)
    assert (await pages.send_form(f"{place}/by-hand/record")).headers["location"] == page, "it is recorded already"


async def test_recorded_ones_are_imported(pages: Pages):
    assert "Import an AuthSession" in (await pages.get("/projects/recorded/auth-sessions")).text
    state = json.dumps({"cookies": [], "origins": []})
    taken = await pages.send_form("/projects/recorded/auth-sessions-import", id="by-hand", state=state)
    assert taken.headers["location"] == "/projects/recorded/auth-sessions?done=import&name=by-hand"
    refused = await pages.send_form("/projects/recorded/auth-sessions-import", state="{}")
    assert refused.status_code == 400
    assert 'id="e-import-state"' in refused.text


async def test_a_project_without_logins_is_told_how_to_have_them(pages: Pages):
    page = await pages.get("/projects/shop/auth-sessions")
    assert page.status_code == 200
    assert '"authSessions": { "enabled": true, "type": "API" }' in page.text
    assert "<form" not in page.text.partition("<main")[2]
    assert (await pages.get("/projects/shop/auth-sessions.json")).json() == {"authSessions": [], "failedCreates": []}
    assert "/projects/shop/auth-sessions" not in (await pages.get("/projects/shop")).text
    assert f'href="{PATH}"' in (await pages.get("/projects/members")).text
