"""Jobs that are refused: the answer says where and what was expected, and nothing is stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from schemas.errors import Unavailable
from schemas.workflow.auth import AuthSessionStatus, AuthSessionType
from schemas.workflow.auth_session import AuthSessionView
from schemas.workflow.job import JobSource
from tests.support.api_in_process import Api, MakeApi
from tests.support.constants import WORKSPACE
from tests.support.in_memory_jobs import BEGAN

SECRET = "t0p-s3cret"
HOOK = {"type": "webhook", "url": "http://127.0.0.1:9/in"}
BUCKET = {"type": "s3", "bucket": "b-1", "accessKeyId": "AKID", "secretAccessKey": SECRET, "region": "eu-central-1"}


def base(project: str = "shop") -> str:
    return f"/api/v1/workspace/{WORKSPACE}/projects/{project}/jobs"


def job(**fields: Any) -> dict[str, Any]:
    """A Job that is accepted, except for these fields."""
    given = {"id": "nightly", "payload": [{"apiName": "list", "parameters": {}}], "configuration": {}}
    return {**given, **fields}


def calendar(**fields: Any) -> dict[str, Any]:
    return job(schedule={"calendars": [fields]})


def item(**fields: Any) -> dict[str, Any]:
    return job(payload=[{"apiName": "list", "parameters": {}}, {"apiName": "list", "parameters": {}, **fields}])


async def stored(api: Api, project: str = "shop") -> list[str]:
    return [key async for key in api.store.list(f"jobs/{project}/")]


@pytest.fixture
async def api(make_api: MakeApi) -> Api:
    return await make_api(egress_allow=["127.0.0.0/8"])


WRONG: list[tuple[dict[str, Any], str, str]] = [
    (job(id="a/b"), "id", "an id of 1 to 128 characters"),
    (job(id=""), "id", "an id of 1 to 128 characters"),
    (job(id="-a"), "id", "an id of 1 to 128 characters"),
    (job(id="a" * 129), "id", "an id of 1 to 128 characters"),
    (job(id=7), "id", "an id of 1 to 128 characters"),
    (job(payload=None), "payload", "required|array"),
    (job(payload={}), "payload", "an array"),
    (job(configuration=None), "configuration", "required|object"),
    (job(configuration=[]), "configuration", "an object"),
    (job(authSession={"id": "anna"}), "authSession", "one of the fields"),
    (job(shedule={}), "shedule", "one of the fields"),
    (item(apiName="lists"), "payload[1].apiName", "the name of an API of the project"),
    (item(apiName=""), "payload[1].apiName", "the name of an API"),
    (item(api="list"), "payload[1].api", "one of the fields apiName"),
    (item(parameters=None), "payload[1].parameters", "required|object"),
    (item(parameters=[]), "payload[1].parameters", "an object"),
    (item(requestTimeout=0), "payload[1].requestTimeout", "a whole number of seconds"),
    (item(requestTimeout="600"), "payload[1].requestTimeout", "a whole number of seconds"),
    (item(retry={"maximumAttempts": 101}), "payload[1].retry.maximumAttempts", "from 1 to 100"),
    (job(configuration={"maxConcurrentRequests": 0}), "configuration.maxConcurrentRequests", "from 1 to 1000"),
    (job(configuration={"maxConcurrentRequests": 2.5}), "configuration.maxConcurrentRequests", "from 1 to 1000"),
    (job(configuration={"maxConcurrentRequests": True}), "configuration.maxConcurrentRequests", "from 1 to 1000"),
    (job(configuration={"maxRuns": 0}), "configuration.maxRuns", "a whole number"),
    (job(configuration={"saveTrace": "never"}), "configuration.saveTrace", "on-failure"),
    (job(configuration={"proxy": "ftp://x"}), "configuration.proxy", "a proxy URL"),
    (job(configuration={"proxy": "http://10.0.0.1:1"}), "configuration.proxy", "an address that is public"),
    (job(proxy={"version": "v1", "url": "http://127.0.0.1:1"}), "proxy", "a proxy URL"),
    (job(proxy="http://10.0.0.1:1"), "proxy", "an address that is public"),
    (job(proxy="http://***@127.0.0.1:3128"), "proxy", "the secret itself"),
    (job(sink={"type": "ftp"}), "sink.type", "a kind of sink"),
    (job(sink={**HOOK, "url": "http://10.0.0.1/"}), "sink.url", "an address that is public"),
    (job(sink={**HOOK, "url": "http://127.0.0.1:9/in?***"}), "sink.url", "the secret itself"),
    (job(sink={**HOOK, "headers": {"x-key": "***"}}), "sink.headers", "the secret itself"),
    (job(sink={**BUCKET, "accessKeyId": "***"}), "sink.accessKeyId", "the secret itself"),
    (job(sink={**BUCKET, "secretAccessKey": "***"}), "sink.secretAccessKey", "the secret itself"),
    (job(notifications=[HOOK, {**HOOK, "type": "email"}]), "notifications[1].type", '"webhook"'),
    (job(notifications=[{**HOOK, "url": "http://10.0.0.1/"}]), "notifications[0].url", "an address that is public"),
    (job(notifications=[{**HOOK, "headers": {"a": "***"}}]), "notifications[0].headers", "the secret itself"),
    (job(auth_session={"id": "anna"}), "auth_session", "no auth_session for this project"),
    (job(schedule="daily"), "schedule", "an object"),
    (job(schedule={}), "schedule", "an object with intervals, calendars or overlap"),
    (job(schedule={"cron": "* * * * *"}), "schedule.cron", "one of the fields intervals"),
    (job(schedule={"intervals": [], "jitter": "1m"}), "schedule", "intervals or calendars beside jitter"),
    (job(schedule={"timezone": "UTC"}), "schedule", "intervals or calendars beside timezone"),
    (job(schedule={"intervals": [{"every": 0}]}), "schedule.intervals[0].every", "from 1 second"),
    (job(schedule={"intervals": [{"every": "1500ms"}]}), "schedule.intervals[0].every", "whole seconds"),
    (job(schedule={"intervals": [{"every": "soon"}]}), "schedule.intervals[0].every", "a text such as"),
    (job(schedule={"intervals": [{"every": 1000.5}]}), "schedule.intervals[0].every", "in milliseconds"),
    (job(schedule={"intervals": [{}]}), "schedule.intervals[0].every", "required"),
    (job(schedule={"intervals": [{"every": "1h", "offset": 1}]}), "schedule.intervals[0].offset", "one of the fields"),
    (job(schedule={"intervals": [{"every": "1h"}] * 101}), "schedule.intervals", "at most 100"),
    (job(schedule={"intervals": [{"every": "1h"}], "jitter": -1}), "schedule.jitter", "a duration"),
    (job(schedule={"calendars": [{}], "timezone": "Europe/Berlni"}), "schedule.timezone", "Did you mean Europe/Berlin"),
    (job(schedule={"calendars": [{}], "overlap": "cancel"}), "schedule.overlap", '"skip", "allow" or "queue"'),
    (job(schedule={"calendars": [{}], "catchupWindow": "9s"}), "schedule.catchupWindow", "from 10 seconds"),
    (calendar(hour=99), "schedule.calendars[0].hour", "from 0 to 23"),
    (calendar(hour="9"), "schedule.calendars[0].hour", "from 0 to 23"),
    (calendar(minute=60), "schedule.calendars[0].minute", "from 0 to 59"),
    (calendar(second=-1), "schedule.calendars[0].second", "from 0 to 59"),
    (calendar(dayOfMonth=0), "schedule.calendars[0].dayOfMonth", "from 1 to 31"),
    (calendar(year=1999), "schedule.calendars[0].year", "from 2000 to 2100"),
    (calendar(month=1), "schedule.calendars[0].month", "one of JANUARY"),
    (calendar(month="MAI"), "schedule.calendars[0].month", "one of JANUARY"),
    (calendar(dayOfWeek="MON"), "schedule.calendars[0].dayOfWeek", "one of SUNDAY"),
    (calendar(dayOfWeek={"start": "FRIDAY", "end": "MONDAY"}), "schedule.calendars[0].dayOfWeek", "end not before"),
    (calendar(hour={"start": 1, "step": 2}), "schedule.calendars[0].hour", "only with end"),
    (calendar(hour={"start": 1, "end": 9, "step": 0}), "schedule.calendars[0].hour", "step at least 1"),
    (calendar(hour={"start": 9, "end": 1}), "schedule.calendars[0].hour", "end not before start"),
    (calendar(hour={"end": 1}), "schedule.calendars[0].hour", '{"start", "end", "step"}'),
    (calendar(hour=[]), "schedule.calendars[0].hour", "an array of these"),
    (calendar(hour=[1, "*"]), "schedule.calendars[0].hour", "an array of these"),
    (calendar(hour=[[1]]), "schedule.calendars[0].hour", "an array of these"),
    (calendar(weekday="MONDAY"), "schedule.calendars[0].weekday", "one of the fields"),
    (calendar(comment="ü" * 101), "schedule.calendars[0].comment", "at most 200 bytes"),
]


@pytest.mark.parametrize(("body", "path", "expected"), WRONG)
async def test_a_job_that_is_wrong_is_refused_and_not_stored(api: Api, body: dict[str, Any], path: str, expected: str):
    before = await stored(api)
    answer = await api.client.post(base(), json=body)
    assert answer.status_code == 400, answer.text
    details = answer.json()["details"]
    assert details["path"] == path
    assert any(part in details["expected"] for part in expected.split("|")), details
    assert SECRET not in answer.text
    assert (await stored(api), api.jobs.known) == (before, {})


async def test_an_api_that_does_not_exist_is_named_with_a_similar_one(api: Api):
    answer = await api.client.post(base(), json=item(apiName="products/detail"))
    assert (
        "payload[1].apiName: project shop has no API 'products/detail'. Did you mean products/details?" in answer.text
    )


async def test_an_update_is_held_to_the_same_and_leaves_the_job_as_it_was(api: Api):
    await api.client.post(base(), json=job())
    before = await stored(api)
    for fields, path in (
        ({"id": "nightly"}, "id"),
        ({"schedule": {"intervals": [{"every": 0}]}}, "schedule.intervals[0].every"),
    ):
        body = {"payload": [], "configuration": {}, **fields}
        answer = await api.client.put(f"{base()}/nightly", json=body)
        assert (answer.status_code, answer.json()["details"]["path"]) == (400, path)
    for left_out in ("payload", "configuration"):
        body = {name: value for name, value in job().items() if name not in ("id", left_out)}
        answer = await api.client.put(f"{base()}/nightly", json=body)
        assert (answer.status_code, answer.json()["details"]["path"]) == (400, left_out)
    assert await stored(api) == before
    await api.client.delete(f"{base()}/nightly")


async def test_an_id_that_is_taken_is_a_conflict(api: Api):
    await api.client.post(base(), json=job())
    before = await stored(api)
    answer = await api.client.post(base(), json=job(payload=[]))
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert await stored(api) == before


async def test_two_creates_at_once_leave_one_definition(api: Api, monkeypatch: pytest.MonkeyPatch):
    await api.client.post(base(), json=job())
    before = await stored(api)

    async def knows_nothing(*_: Any) -> None:
        pass

    monkeypatch.setattr("api.jobs.changes._refuse_known", knows_nothing)
    assert (await api.client.post(base(), json=job())).status_code == 409
    assert await stored(api) == before


async def test_nobody_knows_whether_a_job_was_created_so_its_definition_stays(api: Api):
    api.jobs.failure = Unavailable("Temporal did not answer.")
    assert (await api.client.post(base(), json=job(id="maybe"))).status_code == 503
    assert any(key.startswith("jobs/shop/maybe/") for key in await stored(api))


async def test_a_project_that_logs_in_needs_an_auth_session_that_exists(api: Api):
    members = base("members")
    without = await api.client.post(members, json=job())
    assert (without.status_code, without.json()["details"]["path"]) == (400, "auth_session")
    assert "so its Jobs need auth_session" in without.json()["message"]
    unknown = await api.client.post(members, json=job(auth_session={"id": "nobody"}))
    assert (unknown.status_code, unknown.json()["details"]["path"]) == (400, "auth_session.id")
    assert await stored(api, "members") == []
    api.auth_sessions.known["members", "anna"] = AuthSessionView(
        id="anna",
        type=AuthSessionType.CREDENTIALS,
        status=AuthSessionStatus.READY,
        login_version=1,
        created_at=BEGAN,
        updated_at=BEGAN,
    )
    assert (await api.client.post(members, json=job(auth_session={"id": "anna"}))).status_code == 201
    read = (await api.client.get(f"{members}/nightly")).json()
    assert read["auth_session"] == {"id": "anna", "checkAttempts": 3, "createAttempts": 3, "saveTrace": False}


async def test_a_job_of_a_file_is_not_changed_by_a_request(api: Api):
    await api.client.post(base(), json=job())
    ref = api.jobs.known["shop", "nightly"].ref.model_copy(update={"source": JobSource.CODE})
    api.jobs.change("shop", "nightly", ref=ref)
    before = await stored(api)
    body = {"payload": [], "configuration": {}}
    changes: list[Callable[[], Any]] = [
        lambda: api.client.put(f"{base()}/nightly", json=body),
        lambda: api.client.delete(f"{base()}/nightly"),
    ]
    for change in changes:
        answer = await change()
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert "Edit the file, or remove it, and deploy" in answer.json()["message"]
    assert await stored(api) == before
    assert (await api.client.post(f"{base()}/nightly/trigger")).status_code == 200
    assert (await api.client.post(f"{base()}/nightly/pause")).status_code == 200


async def test_jobs_work_where_the_api_is_closed(api: Api):
    closed = base("closed")
    assert (await api.client.post(closed, json=job())).status_code == 201
    assert (await api.client.post(f"{closed}/nightly/trigger")).status_code == 200
    assert (await api.client.put(f"{closed}/nightly", json={"payload": [], "configuration": {}})).status_code == 200
    assert (await api.client.delete(f"{closed}/nightly")).status_code == 204


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nobody"),
        ("PUT", "/nobody"),
        ("DELETE", "/nobody"),
        ("GET", "/nobody/payload"),
        ("POST", "/nobody/pause"),
        ("POST", "/nobody/resume"),
        ("POST", "/nobody/trigger"),
        ("GET", "/nobody/runs"),
        ("GET", "/nobody/runs/jr_aaaaaaaaaaaaaaaaaaaaa"),
        ("GET", "/nobody/runs/jr_aaaaaaaaaaaaaaaaaaaaa/results"),
        ("POST", "/nobody/runs/jr_aaaaaaaaaaaaaaaaaaaaa/pause"),
        ("POST", "/nobody/runs/jr_aaaaaaaaaaaaaaaaaaaaa/resume"),
        ("POST", "/nobody/runs/jr_aaaaaaaaaaaaaaaaaaaaa/terminate"),
    ],
)
async def test_a_job_that_does_not_exist_is_not_found(api: Api, method: str, path: str):
    body = {"payload": [], "configuration": {}}
    for project in ("shop", "no-such-project"):
        answer = await api.client.request(method, f"{base(project)}{path}", json=body if method == "PUT" else None)
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


@pytest.mark.parametrize(
    ("query", "path", "expected"),
    [
        ("pageSize=0", "pageSize", "from 1 to 1000"),
        ("pageSize=many", "pageSize", "from 1 to 1000"),
        ("pageNumber=-1", "pageNumber", "the first page is 0"),
        ("sortBy=start_time", "sortBy", "pairs of a field and asc or desc"),
        ("sortBy=start_time,down", "sortBy", "pairs of a field and asc or desc"),
        ("sortBy=color,asc", "sortBy", "start_time, end_time"),
        ("sortBy=", "sortBy", "pairs of a field and asc or desc"),
        ("page=1", "page", "only known fields|one of"),
    ],
)
async def test_a_page_that_is_wrong_is_refused(api: Api, query: str, path: str, expected: str):
    await api.client.post(base(), json=job())
    answer = await api.client.get(f"{base()}/nightly/runs?{query}")
    assert (answer.status_code, answer.json()["details"]["path"]) == (400, path)
    assert any(part in answer.json()["details"]["expected"] for part in expected.split("|"))
    await api.client.delete(f"{base()}/nightly")


async def test_secrets_are_sealed_in_what_is_stored(api: Api):
    body = job(
        proxy=f"http://anna:{SECRET}@127.0.0.1:3128",
        sink={**HOOK, "url": f"{HOOK['url']}?token={SECRET}", "headers": {"x-key": SECRET}},
        notifications=[{**HOOK, "url": f"{HOOK['url']}?token={SECRET}", "headers": {"x-key": SECRET}}],
    )
    assert (await api.client.post(base(), json=body)).status_code == 201
    ref = api.jobs.known["shop", "nightly"].ref
    text = (await api.store.get(f"jobs/shop/nightly/{ref.definition}/definition.json") or b"").decode()
    assert json.loads(text)["proxy"]["server"] == "http://127.0.0.1:3128"
    assert SECRET not in text
    await api.client.delete(f"{base()}/nightly")
