"""AuthSessions that people record, over REST: what is ordered, and what is refused (docs/contract.md, section 7.4)."""

import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from callboard.schemas.workflow.auth import AuthSessionType
from callboard.schemas.workflow.auth_session import LoginSpec
from callboard.schemas.workflow.handoff import Handoff, HandoffStatus
from callboard.schemas.workflow.proxy import SealedProxy
from callboard.schemas.workflow.run import RunType
from callboard.schemas.workflow.trace import TraceMode
from tests.support.api_in_process import Api, MakeApi
from tests.support.present import assert_has, present

STORED = SealedProxy(server="http://stored:1", owner="auth-session/anna")
LOGIN = "https://8.8.8.8/login"
RECORDER = AuthSessionType.RECORDER


async def ask(api: Api, path: str, body: dict[str, Any], status: int = 201, project: str = "recorded") -> Any:
    return await api.ask(f"auth-sessions{path}", project, method="POST", status=status, json=body)


async def start(api: Api, project: str) -> str:
    """Start a Run with the AuthSession `anna`."""
    body = {"api": "list", "parameters": {}, "authSession": {"id": "anna"}}
    return (await api.ask("run/start", project, method="POST", status=201, json=body))["runId"]


def assert_ordered(login: LoginSpec, answer: dict[str, Any], start_url: str) -> None:
    page = f"/projects/recorded/auth-sessions/record/{login.run_id}"
    assert (answer["status"], answer["operationId"]) == ("started", login.run_id)
    assert answer["url"].endswith(page)
    assert_has(login, type=RunType.AUTH_SESSION_RECORD, start_url=start_url, parameters_key=None)
    assert_has(login, check_attempts=3, trace=TraceMode.NEVER, request_timeout=timedelta(minutes=10))


async def test_a_record_is_ordered_and_can_be_looked_up(api: Api):
    answer = await ask(api, "/record", {"id": "anna@home", "startUrl": LOGIN, "proxy": "http://u:pw@9.9.9.9:1"})
    (ordered,) = api.auth_sessions.created
    login = present(ordered.create)
    assert_ordered(login, answer, LOGIN)
    assert ordered.ref.model_dump() == {"id": "anna@home", "type": "RECORDER", "owner": "anna@home"}
    assert_has(ordered.view, type=RECORDER, status="PENDING", login_version=0)
    assert_has(login.proxy, server="http://9.9.9.9:1", owner="auth-session/anna@home")
    assert await api.stored("auth-sessions/recorded/anna@home/") == [], (
        "there is nothing to be kept before a person has logged in"
    )
    result = await api.ask(f"auth-sessions/record/{login.run_id}/result", "recorded")
    assert result == {"status": "pending"}


async def test_a_renewal_begins_where_the_last_one_did_unless_it_says_otherwise(api: Api):
    api.add_auth_session(project="recorded", type=RECORDER, start_url=LOGIN, proxy=STORED)
    for body, start_url in (({}, LOGIN), ({"startUrl": "https://9.9.9.9"}, "https://9.9.9.9")):
        answer = await ask(api, "/anna/record", body)
        assert_ordered(login := api.auth_sessions.updates[-1], answer, start_url)
        assert login.proxy == STORED


async def test_the_project_s_start_address_serves_those_without(make_project_api: MakeApi):
    settings = {"authSessions": {"enabled": True, "type": "MANUAL", "startUrl": LOGIN}}
    api = await make_project_api(settings, "recorded")
    await ask(api, "/record", {})
    assert present(api.auth_sessions.created[0].create).start_url == LOGIN
    api.add_auth_session(project="recorded", type=RECORDER)
    await ask(api, "/anna/record", {})
    assert api.auth_sessions.updates[0].start_url == LOGIN


async def test_a_name_that_its_proxy_alone_may_know_serves_a_renewal(api: Api, monkeypatch: pytest.MonkeyPatch):
    async def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(api.services.egress, "_resolve", unknown)
    start_url = "https://login.invalid/"
    api.add_auth_session(project="recorded", type=RECORDER, start_url=start_url)
    refused = await ask(api, "/anna/record", {}, 400)
    assert "There is no host login.invalid" in refused["message"]
    api.add_auth_session("through", project="recorded", type=RECORDER, start_url=start_url, proxy=STORED)
    answer = await ask(api, "/through/record", {})
    assert_ordered(api.auth_sessions.updates[-1], answer, start_url)


@pytest.mark.parametrize(
    ("path", "body", "status", "said", "project"),
    [
        ("/record", {}, 400, "startUrl: expected an http or https URL", "recorded"),
        ("/anna/record", {}, 400, "startUrl: expected an http or https URL", "recorded"),
        ("/record", {"startUrl": "http://10.1.2.3/"}, 400, "startUrl: 10.1.2.3 leads to", "recorded"),
        ("/anna/record", {"startUrl": "http://localhost:1/"}, 400, "startUrl: localhost leads to", "recorded"),
        ("/record", {"startUrl": "file:///etc/passwd"}, 400, "startUrl: expected an http", "recorded"),
        ("/record", {"startUrl": "https://u:p@8.8.8.8"}, 400, "without user and password", "recorded"),
        ("/record", {"startUrl": LOGIN, "proxy": "http://10.1.2.3:1"}, 400, "proxy: 10.1.2.3 leads to", "recorded"),
        ("/record", {"startUrl": LOGIN, "id": "anna"}, 409, "already", "recorded"),
        ("/nobody/record", {"startUrl": LOGIN}, 404, "no AuthSession", "recorded"),
        ("/record", {"startUrl": LOGIN}, 400, "authSessions.type", "members"),
        ("/record", {"startUrl": LOGIN}, 400, "authSessions.enabled", "shop"),
        ("/made/record", {"startUrl": LOGIN}, 400, "created from parameters", "recorded"),
    ],
)
async def test_what_is_refused_and_why(api: Api, path: str, body: Any, status: int, said: str, project: str):
    api.add_auth_session(project="recorded", type=RECORDER)
    api.add_auth_session("made", project="recorded")
    before = await api.stored("auth-sessions/", "runs/")
    refused = await ask(api, path, body, status, project)
    assert said in refused["message"]
    assert api.auth_sessions.created == api.auth_sessions.updates == []
    assert await api.stored("auth-sessions/", "runs/") == before


async def test_one_that_waits_for_a_person_is_not_recorded_a_second_time(api: Api):
    api.add_auth_session(project="recorded", type=RECORDER)
    run_id = await start(api, "recorded")
    api.add_auth_session(project="recorded", type=RECORDER, start_url=LOGIN, pending_run_id=run_id)
    now = datetime.now(UTC)
    asked: Any = {"kind": "browser", "attempt": 1, "instructions": "Log in", "created_at": now, "expires_at": now}
    api.runs.handoffs = [Handoff(id=f"{run_id}.1.1", fields=(), status=HandoffStatus.OPEN, **asked)]
    refused = await ask(api, "/anna/record", {}, 409)
    assert refused["details"] == {"operationId": run_id, "handoffId": f"{run_id}.1.1"}
    assert api.auth_sessions.updates == []


@pytest.mark.parametrize(("project", "is_asked"), [("recorded", True), ("members", False)])
async def test_a_person_is_asked_for_one_that_has_expired_while_people_make_the_logins(
    api: Api, project: str, is_asked: bool
):
    api.add_auth_session(project=project, type=RECORDER, start_url=LOGIN)
    started = await ask(api, "/anna/validate/start", {}, project=project)
    assert api.auth_sessions.validates[started["operationId"]].auto_recreate is is_asked
    assert present(api.input_of(await start(api, project)).auth).auto_recreate is is_asked
