"""Jobs that are refused: the answer says where and what was expected, and nothing is stored.

What a schedule may hold is shown by `tests/unit/schemas/test_job_schedule.py`.
"""

import json
from typing import Any

import pytest

from callboard.schemas.errors import Unavailable
from callboard.schemas.workflow.job import JobSource
from tests.support.api_in_process import Api, MakeApi
from tests.support.constants import WORKSPACE

SECRET = "t0p-s3cret"
HOOK = {"type": "webhook", "url": "http://127.0.0.1:9/in"}
BUCKET = {"type": "s3", "bucket": "b-1", "accessKeyId": "AKID", "secretAccessKey": SECRET, "region": "eu-central-1"}


def base(project: str = "shop") -> str:
    return f"/api/v1/workspace/{WORKSPACE}/projects/{project}/jobs"


def job(**fields: Any) -> dict[str, Any]:
    """A Job that is accepted, except for these fields."""
    given = {"id": "nightly", "payload": [{"apiName": "list", "parameters": {}}], "configuration": {}}
    return {**given, **fields}


def item(**fields: Any) -> dict[str, Any]:
    return job(payload=[{"apiName": "list", "parameters": {}}, {"apiName": "list", "parameters": {}, **fields}])


async def stored(api: Api) -> list[str]:
    return await api.stored("jobs/")


@pytest.fixture
async def api(make_api: MakeApi) -> Api:
    return await make_api(egress_allow=["127.0.0.0/8"])


WRONG: list[tuple[dict[str, Any], str, str]] = [
    *((job(id=each), "id", "an id of 1 to 128 characters") for each in ("a/b", "", "-a", "a" * 129, 7)),
    *((job(payload=each), "payload", "required|array") for each in (None, {})),
    *((job(configuration=each), "configuration", "required|object") for each in (None, [])),
    (job(authSession={"id": "anna"}), "authSession", "one of the fields"),
    (job(shedule={}), "shedule", "one of the fields"),
    *((item(apiName=each), "payload[1].apiName", "the name of an API") for each in ("lists", "")),
    (item(api="list"), "payload[1].api", "one of the fields apiName"),
    *((item(parameters=each), "payload[1].parameters", "required|object") for each in (None, [])),
    *((item(requestTimeout=each), "payload[1].requestTimeout", "a whole number of seconds") for each in (0, "600")),
    (item(retry={"maximumAttempts": 101}), "payload[1].retry.maximumAttempts", "from 1 to 100"),
    (item(retry={"maximumInterval": "2 days"}), "payload[1].retry.maximumInterval", "at most 24 hours"),
    (job(configuration={"retry": {"initialInterval": -1}}), "configuration.retry.initialInterval", "seconds from 0"),
    *(
        (job(configuration={"maxConcurrentRequests": each}), "configuration.maxConcurrentRequests", "from 1 to 1000")
        for each in (0, 2.5, True)
    ),
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
    *(
        (job(sink={**BUCKET, each: "***"}), f"sink.{each}", "the secret itself")
        for each in ("accessKeyId", "secretAccessKey")
    ),
    (job(notifications=[HOOK, {**HOOK, "type": "email"}]), "notifications[1].type", '"webhook"'),
    (job(notifications=[{**HOOK, "url": "http://10.0.0.1/"}]), "notifications[0].url", "an address that is public"),
    (job(notifications=[{**HOOK, "headers": {"a": "***"}}]), "notifications[0].headers", "the secret itself"),
    (job(auth_session={"id": "anna"}), "auth_session", "no auth_session for this project"),
    (job(schedule={"cron": "0 6 1 * MON"}), "schedule.cron", "an expression for each"),
    (job(tags=["a", "a"]), "tags", "each tag once"),
    (job(tags=["two words"]), "tags[0]", "a tag of 1 to 64 characters"),
    (item(tags=["a"] * 11), "payload[1].tags", "at most 10 tags"),
    (
        item(tags=[str(n) for n in range(6)]) | {"tags": list("abcde")},
        "payload[1].tags",
        "together with those of the Job",
    ),
    (
        item(tags=[f"a/{SECRET}"]) | {"sink": {**HOOK, "headers": {"a": SECRET}}},
        "payload[1].tags[0]",
        "without a secret",
    ),
    (job(schedule={"intervals": [{"every": 0}]}), "schedule.intervals[0].every", "from 1 second"),
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


@pytest.mark.parametrize("at_the_same_moment", [False, True])
async def test_an_id_that_is_taken_is_a_conflict_and_leaves_one_definition(
    api: Api, monkeypatch: pytest.MonkeyPatch, *, at_the_same_moment: bool
):
    async def knows_nothing(*_: Any) -> None:
        pass

    await api.client.post(base(), json=job())
    before = await stored(api)
    if at_the_same_moment:
        monkeypatch.setattr("api.jobs.jobs._refuse_known", knows_nothing)
    answer = await api.client.post(base(), json=job(payload=[]))
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
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
    assert await api.stored("jobs/members/") == []
    api.add_auth_session()
    assert (await api.client.post(members, json=job(auth_session={"id": "anna"}))).status_code == 201
    read = (await api.client.get(f"{members}/nightly")).json()
    assert read["auth_session"] == {"id": "anna", "checkAttempts": 3, "createAttempts": 3, "saveTrace": False}


async def test_jobs_work_where_the_api_is_closed(api: Api):
    closed = base("closed")
    assert (await api.client.post(closed, json=job())).status_code == 201
    assert (await api.client.post(f"{closed}/nightly/trigger")).status_code == 200
    assert (await api.client.put(f"{closed}/nightly", json={"payload": [], "configuration": {}})).status_code == 200
    assert (await api.client.delete(f"{closed}/nightly")).status_code == 204


async def test_a_job_of_a_file_is_not_changed_by_a_request(api: Api):
    await api.client.post(base(), json=job())
    ref = api.jobs.known["shop", "nightly"].ref.model_copy(update={"source": JobSource.CODE})
    api.jobs.change("shop", "nightly", ref=ref)
    before = await stored(api)
    body = {"payload": [], "configuration": {}}
    for answer in (await api.client.put(f"{base()}/nightly", json=body), await api.client.delete(f"{base()}/nightly")):
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert "Edit the file, or remove it, and deploy" in answer.json()["message"]
    assert await stored(api) == before
    assert (await api.client.post(f"{base()}/nightly/trigger")).status_code == 200
    assert (await api.client.post(f"{base()}/nightly/pause")).status_code == 200


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
