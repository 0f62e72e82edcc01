"""Each change and each refusal is recorded: one line of the log and one object, with nothing that is secret."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api.http.access import Requirement
from api.http.key_check import WRONG_KEYS
from callboard.schemas.rest.access import Scope
from callboard.security.apikeys import Caller, operator_of
from callboard.storage.audit_log import AuditName
from callboard.telemetry.logs import configure_logging
from tests.support.api_in_process import KEY, Api, MakeApi
from tests.support.constants import WORKSPACE
from tests.support.counted import counting
from tests.support.dashboard_client import browser_client, signed_in_client
from tests.support.faulty_store import FaultyStore
from tests.support.polling import until

WORD = "hunter2-Zq8x"
"""A secret word, which stands in whatever a request can have."""
LOST = "callboard_audit_entries_lost"
RUN_ID = "V1StGXR8_Z5jdHi6B-myT"
"""The id of a Run that never was."""


@pytest.fixture
async def api(make_project_api: MakeApi) -> Api:
    """An application with a store of its own."""
    return await make_project_api({})


async def entries(api: Api) -> list[dict[str, Any]]:
    """All entries, oldest first."""
    found = [await api.store.get(key) async for key in api.store.list("audit/")]
    read = [json.loads(each) for each in found if each is not None]
    return sorted(read, key=lambda entry: entry["time"])


def lines(caplog: pytest.LogCaptureFixture) -> list[Mapping[str, Any]]:
    """What the log says to machines."""
    return [vars(record)["audit"] for record in caplog.records if "audit" in vars(record)]


def lets_in(api: Api, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    """Let all keys be this one."""
    known: dict[str, Any] = {
        "id": "Zk3vT9qLm2Xa",
        "name": "nightly",
        "scopes": frozenset({Scope.RUNS_READ}),
        "projects": None,
    }

    async def check(*_: Any) -> Caller:
        return Caller(**{**known, **fields})

    monkeypatch.setattr(api.services.keys, "check", check)


async def test_a_change_is_recorded_with_who_what_which_when_and_from_where(api: Api, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    before = datetime.now(UTC)
    answer = await api.start()
    (entry,) = await entries(api)
    assert before <= datetime.fromisoformat(entry.pop("time")) <= datetime.now(UTC)
    (key,) = await api.stored("audit/")
    assert (AuditName.read(key) or pytest.fail(key)).action == "run.start"
    assert entry == {
        "action": "run.start",
        "actor": {"id": operator_of(KEY).id, "name": "operator", "signedIn": False},
        "project": "shop",
        "ids": {"runId": answer.json()["runId"]},
        "status": 201,
        "refusedAction": None,
        "missingScope": None,
        "client": "127.0.0.1",
        "request": "POST /api/v1/workspace/{workspaceId}/projects/{projectName}/run/start",
        "correlationId": answer.headers["x-correlation-id"],
    }
    (line,) = lines(caplog)
    assert line == {"event": "audit", **{name: value for name, value in entry.items() if value is not None}}


async def test_what_reads_leaves_no_entry(api: Api):
    run_id = await api.run()
    await api.client.get(f"{api.base}/{run_id}/result")
    await api.ask("runs")
    await api.client.get("/projects", headers={"accept": "text/html"})
    await api.client.get("/readyz")
    await api.client.get(f"/api/v1/workspace/{WORKSPACE}/audit")
    assert [entry["action"] for entry in await entries(api)] == ["run.start"]


async def test_ids_that_a_call_makes_are_in_its_entry(api: Api):
    run_id = await api.run()
    again = await api.ask(f"runs/{run_id}/rerun", method="POST", status=201)
    await api.create_job("daily")
    triggered = await api.ask("jobs/daily/trigger", method="POST")
    await api.ask("env-vars/SHOP_URL", method="PUT", json={"value": WORD})
    await api.ask(f"env-vars/{WORD}", method="DELETE", status=404)
    await api.client.post(f"{api.base}/{run_id}/cancel?wait=0")
    found = {entry["action"]: entry["ids"] for entry in await entries(api)}
    assert found == {
        "run.start": {"runId": run_id},
        "run.rerun": {"runId": again["runId"], "rerunOf": run_id},
        "job.create": {"jobId": "daily"},
        "job.trigger": {"jobId": "daily", "jobRunId": triggered["jobRunId"]},
        "env-var.set": {"variable": "SHOP_URL"},
        "env-var.delete": {},
        "run.cancel": {"runId": run_id},
    }


async def test_no_id_is_told_of_a_run_that_never_was(make_project_api: MakeApi):
    api = await make_project_api({"authSessions": {"enabled": True, "type": "MANUAL"}})
    unknown = await api.start({"api": "list", "parameters": {}, "authSession": {"id": "nobody"}})
    assert unknown.status_code == 404
    assert (await api.client.post(f"{api.base}/{RUN_ID}/cancel?wait=0")).status_code == 404
    assert [(entry["action"], entry["ids"]) for entry in await entries(api)] == [
        ("run.start", {}),
        ("run.cancel", {"runId": RUN_ID}),  # this is what was asked for
    ]
    page = (await (await signed_in_client(api)).get("/audit")).text
    assert RUN_ID in page
    assert "/runs/" not in page


async def test_an_operation_of_an_auth_session_is_recorded_with_its_ids(make_project_api: MakeApi):
    api = await make_project_api({"authSessions": {"enabled": True, "type": "API"}})
    created = await api.ask("auth-sessions/create", method="POST", status=201, json={"parameters": {"password": WORD}})
    (entry,) = await entries(api)
    assert entry["action"] == "authsession.create"
    assert entry["ids"]["operationId"] == created["operationId"]
    assert entry["ids"]["authSessionId"].startswith("auth-session-")
    api.add_auth_session("anna", "shop")
    validated = await api.ask("auth-sessions/anna/validate/start", method="POST", status=201, json={})
    assert (await entries(api))[-1]["ids"] == {"authSessionId": "anna", "operationId": validated["operationId"]}


async def test_pages_leave_entries_of_whoever_has_signed_in(api: Api):
    run_id = await api.run()
    pages = await signed_in_client(api)
    await pages.send_form("/projects/shop/runs/bulk/cancel", run=run_id)
    await api.client.post("/projects/shop/runs/bulk/rerun", data={"run": [run_id], "token": ""})
    await api.create_job("daily")
    await pages.send_form("/projects/shop/jobs/daily/pause")
    await pages.send_form("/projects/shop/playground", api="list", do="show")
    await pages.send_form("/sign-out")
    found = [(entry["action"], entry["actor"]["signedIn"], entry["ids"]) for entry in (await entries(api))[1:]]
    ids = [each[2] for each in found]
    assert [each[:2] for each in found] == [
        ("sign-in", False),
        ("bulk.cancel", True),
        ("bulk.rerun", False),
        ("job.create", False),
        ("job.pause", True),
        ("sign-out", True),
    ]
    assert [each["bulkId"] for each in ids[1:3]] == [bulk.bulk_id for bulk in api.bulks.started]
    assert ids[4] == {"jobId": "daily"}


async def test_refusals_say_what_was_refused_to_whom(api: Api, monkeypatch: pytest.MonkeyPatch):
    del api.client.headers["x-api-key"]
    await api.start()
    await browser_client(api).get("/projects")
    assert await entries(api) == [], "anybody can send a request without a key"
    await api.start(x_api_key="wrong")
    await api.start(x_api_key=f"cb_Zk3vT9qLm2Xa_{'s' * 43}")
    await browser_client(api).sign_in(f"cb_Zk3vT9qLm2Xa_{'t' * 43}")
    lets_in(api, monkeypatch)
    await api.start(x_api_key="any")
    await api.ask("env-vars", headers={"x-api-key": "any"}, status=403)
    lets_in(api, monkeypatch, projects=frozenset({"other"}))
    await api.ask("runs", headers={"x-api-key": "any"}, status=404)
    found = await entries(api)
    assert {entry["action"] for entry in found} == {"refusal"}
    names = ("status", "project", "refusedAction", "missingScope")
    assert [(entry["actor"]["id"], *(entry[name] for name in names)) for entry in found] == [
        ("unknown", 401, None, None, None),
        ("Zk3vT9qLm2Xa", 401, None, None, None),
        ("Zk3vT9qLm2Xa", 401, None, "sign-in", None),
        ("Zk3vT9qLm2Xa", 403, "shop", "run.start", "runs:start"),
        ("Zk3vT9qLm2Xa", 403, "shop", None, "env-vars"),
        ("Zk3vT9qLm2Xa", 404, "shop", None, None),
    ]
    assert [entry["actor"]["name"] for entry in found] == [None] * 3 + ["nightly"] * 3
    assert api.runs.entries == {}


async def test_an_address_that_guesses_leaves_one_entry_once_it_has_to_wait(api: Api):
    statuses = [(await api.start(x_api_key=f"wrong-{number}")).status_code for number in range(WRONG_KEYS + 5)]
    assert statuses.count(429) == 5
    assert [entry["status"] for entry in await entries(api)] == [401] * WRONG_KEYS + [429]


async def test_refusals_of_a_key_are_limited_and_its_changes_are_not(api: Api, monkeypatch: pytest.MonkeyPatch):
    lets_in(api, monkeypatch)
    for _ in range(120):
        await api.start()
    assert len(await entries(api)) == 100
    lets_in(api, monkeypatch, id="AnotherKey01")
    await api.start()
    lets_in(api, monkeypatch, scopes=frozenset({Scope.RUNS_START}))
    await api.run()
    assert [entry["action"] for entry in (await entries(api))[100:]] == ["refusal", "run.start"]


async def test_no_secret_no_parameter_and_no_header_is_in_an_entry_or_a_line(
    api: Api, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    pages = await signed_in_client(api)
    token = await pages.token()
    headers = {"user-agent": WORD, "x-forwarded-for": WORD, "idempotency-key": WORD, "referer": f"http://x/{WORD}"}
    body = dict.fromkeys(("parameters", "value", "name", "id", "key", "password", "sink", "payload", WORD), WORD)
    changing = [
        (method, route.path)
        for route in api.app.routes
        if isinstance(route, APIRoute) and _action(route) is not None
        for method in route.methods or ()
    ]
    assert len(changing) > 20
    for method, path in changing:
        filled = re.sub(r"\{(\w+)\}", lambda found: _value(found[1]), path)
        for content in (json.dumps(body), WORD):
            await api.client.request(method, filled, params={"q": WORD}, content=content, headers=headers)
        await pages.request(method, filled, data={**body, "token": token}, params={"q": WORD}, headers=headers)
    await api.start({"api": "list", "parameters": {"password": WORD}, "sink": {"type": "webhook", "url": WORD}})
    await browser_client(api, **headers).sign_in(WORD, next=f"/{WORD}")
    assert (await api.start(x_api_key=WORD)).status_code == 401
    found = [await api.store.get(key) async for key in api.store.list("audit/")]
    assert len(found) > 40
    assert all(WORD.encode() not in each for each in found if each is not None)
    assert WORD not in "".join(await api.stored("audit/"))
    audited = [record for record in caplog.records if "audit" in vars(record)]
    assert len(audited) == len(found)
    assert all(WORD not in record.getMessage() + json.dumps(vars(record)["audit"]) for record in audited)


def _action(route: APIRoute) -> str | None:
    requirements = [each.dependency for each in route.dependencies if isinstance(each.dependency, Requirement)]
    return next((each.action for each in requirements if each.action), None)


def _value(name: str) -> str:
    known = {"workspaceId": WORKSPACE, "projectName": "shop", "number": "1"}
    return known.get(name, f"{WORD} ")  # no id has a blank


@pytest.mark.parametrize("given", ["cb_Zk3vT9qLm2Xa_half-of-a-key", "x" * 300, "a\nb", "a\x1b[31mb"])
async def test_what_is_no_id_stands_in_no_entry(api: Api, given: str):
    await api.ask(f"jobs/{httpx.QueryParams({'': given})}".replace("=", ""), method="DELETE", status=404)
    (entry,) = await entries(api)
    assert (entry["action"], entry["ids"], entry["status"]) == ("job.delete", {}, 404)


async def test_a_name_cannot_be_another_line_of_the_log(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    lets_in(api, monkeypatch, name='a"\n2026 INFO audit: run.start by \u202e\x1b[2J' + "n" * 5000, scopes={Scope.ADMIN})
    await api.run()
    (record,) = [record for record in caplog.records if "audit" in vars(record)]
    assert record.getMessage().isascii()
    assert record.getMessage().isprintable()
    (entry,) = await entries(api)
    assert len(entry["actor"]["name"]) <= 200


async def test_nobody_forges_an_address(api: Api):
    await api.start(x_forwarded_for="198.51.100.9", forwarded="for=198.51.100.9", x_real_ip="198.51.100.9")
    assert [entry["client"] for entry in await entries(api)] == ["127.0.0.1"]


@pytest.mark.parametrize(("proxy", "said"), [("127.0.0.1", "203.0.113.7"), ("198.51.100.1", "198.51.100.1")])
async def test_an_address_is_believed_from_trusted_proxies_alone(api: Api, proxy: str, said: str):
    # As the server wraps the application (`api.__main__`).
    inner: Any = api.app
    app: Any = ProxyHeadersMiddleware(inner, trusted_hosts=["127.0.0.0/8"])
    transport = httpx.ASGITransport(app, client=(proxy, 1))
    headers = {"x-api-key": KEY, "x-forwarded-for": "192.0.2.1, 203.0.113.7"}
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=headers) as other:
        assert (await other.post(f"{api.base}/start", json={"api": "list", "parameters": {}})).status_code == 201
    assert [entry["client"] for entry in await entries(api)] == [said]


@pytest.mark.parametrize(
    ("client", "said"),
    [
        (("2001:db8::1", 1), "2001:db8::1"),
        (("fe80::1%x\ny", 1), "fe80::1"),
        (("forged\n203.0.113.1", 1), None),
        (None, None),
    ],
)
async def test_an_address_is_an_address(api: Api, client: Any, said: str | None):
    transport = httpx.ASGITransport(api.app, client=client)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test", headers={"x-api-key": KEY}) as other:
        assert (await other.post(f"{api.base}/start", json={"api": "list", "parameters": {}})).status_code == 201
    assert [entry["client"] for entry in await entries(api)] == [said]


@pytest.fixture
async def faulty(make_project_api: MakeApi, make_api: MakeApi, tmp_path: Path) -> Api:
    """An application over a store that can be told to fail and to wait."""
    await make_project_api({})
    return await make_api(store=FaultyStore(tmp_path / "artifacts"))


async def test_a_store_that_refuses_an_entry_does_not_refuse_the_change(faulty: Api, caplog: pytest.LogCaptureFixture):
    store: Any = faulty.store

    def refuse(key: str) -> bool:
        return key.startswith("audit/")

    store.refuse = refuse
    with counting() as counted:
        assert (await faulty.start()).status_code == 201
        assert [value for name, value, _ in counted() if name == LOST] == [1]
    assert await entries(faulty) == []
    (error,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "run.start" in error.getMessage()
    assert "The store is away" in error.getMessage()


async def test_a_cancel_of_the_request_does_not_prevent_the_entry(faulty: Api):
    store: Any = faulty.store
    go = asyncio.Event()
    reached = asyncio.Event()

    def hold(key: str, _data: bytes) -> asyncio.Event | None:
        if not key.startswith("audit/"):
            return None
        reached.set()
        return go

    store.hold = hold
    request = asyncio.create_task(faulty.start())
    await reached.wait()
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    go.set()
    left = await until(lambda: entries(faulty))
    assert [(entry["action"], entry["status"]) for entry in left] == [("run.start", 201)]


async def test_a_client_that_leaves_before_its_answer_leaves_an_entry(api: Api, monkeypatch: pytest.MonkeyPatch):
    run_id = await api.run()

    async def leave(*_: Any) -> Any:
        raise asyncio.CancelledError

    monkeypatch.setattr("api.runs.calls.result_json", leave)
    with pytest.raises(asyncio.CancelledError):
        await api.client.post(f"{api.base}/{run_id}/cancel")
    last = (await entries(api))[-1]
    assert (last["action"], last["ids"], last["status"]) == ("run.cancel", {"runId": run_id}, None)


async def test_the_line_is_json_where_logs_are(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        monkeypatch.setenv("CALLBOARD_LOG_FORMAT", "json")
        configure_logging()
        run_id = await api.run()
    finally:
        root.handlers[:], root.level = handlers, level
        logging.captureWarnings(capture=False)
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (line,) = [each for each in said if each.get("event") == "audit"]
    assert (line["action"], line["ids"], line["actor"]["name"]) == ("run.start", {"runId": run_id}, "operator")


async def test_every_changing_route_names_an_action_of_the_contract(api: Api):
    contract = (Path(__file__).parents[4] / "docs" / "contract.md").read_text()
    said = set(re.findall(r"`([a-z-]+(?:\.[a-z-]+)?)`", contract.partition("## 20 Audit")[2]))
    actions = {_action(route) for route in api.app.routes if isinstance(route, APIRoute)} - {None}
    assert actions | {"sign-in", "sign-out", "sink.test", "refusal"} <= said
