"""The audit is listed over REST and on a page, with filters, for keys with the scope `admin`."""

from __future__ import annotations

from typing import Any

import pytest

from callboard.schemas.rest.audit import AuditActor, AuditEntry
from callboard.storage.audit_log import AuditLog
from tests.support.api_in_process import Api, MakeApi
from tests.support.constants import WORKSPACE
from tests.support.dashboard_client import ESCAPED, EVIL, signed_in_client

AUDIT = f"/api/v1/workspace/{WORKSPACE}/audit"


@pytest.fixture
async def api(make_project_api: MakeApi) -> Api:
    """An application with a store of its own, in which three Runs were started and one was canceled."""
    api = await make_project_api({})
    run_ids = [await api.run() for _ in range(3)]
    await api.client.post(f"{api.base}/{run_ids[0]}/cancel?wait=0")
    return api


async def listed(api: Api, status: int = 200, **query: Any) -> dict[str, Any]:
    answer = await api.client.get(AUDIT, params=query)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_entries_are_listed_newest_first_and_page_by_page(api: Api):
    page = await listed(api, limit=3)
    assert [entry["action"] for entry in page["entries"]] == ["run.cancel", "run.start", "run.start"]
    rest = await listed(api, limit=3, cursor=page["nextCursor"])
    assert [entry["action"] for entry in rest["entries"]] == ["run.start"]
    assert rest["nextCursor"] is None
    assert len({entry["correlationId"] for entry in page["entries"] + rest["entries"]}) == 4


async def test_filters_are_those_of_the_contract(api: Api):
    whole = (await listed(api))["entries"]
    assert (await listed(api, action=["run.cancel", "job.create"]))["entries"] == whole[:1]
    assert (await listed(api, actor="operator"))["entries"] == whole
    assert (await listed(api, actor=whole[0]["actor"]["id"]))["entries"] == whole
    assert (await listed(api, actor="somebody"))["entries"] == []
    assert (await listed(api, project=["shop", "members"], since=whole[2]["time"]))["entries"] == whole[:3]
    assert (await listed(api, until=whole[2]["time"]))["entries"] == whole[3:]


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "AAAAAAAAAAA"}, "cursor"),
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"since": "yesterday"}, "since"),
        ({"until": "2026-11-29T10:00"}, "until"),
        ({"actor": "a\0"}, "actor[0]"),
        ({"who": "operator"}, "who"),
    ],
)
async def test_what_is_no_filter_is_refused(api: Api, query: dict[str, str], path: str):
    assert (await listed(api, 400, **query))["details"]["path"] == path


async def test_a_cursor_belongs_to_its_filters(api: Api):
    cursor = (await listed(api, limit=1))["nextCursor"]
    await listed(api, 400, limit=1, cursor=cursor, action="run.start")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_no_call_changes_the_audit(api: Api, method: str):
    before = await api.stored("audit/")
    for path in (AUDIT, "/audit", *(f"{AUDIT}/{key.removeprefix('audit/')}" for key in before)):
        assert (await api.client.request(method, path)).status_code in (404, 405)
    assert await api.stored("audit/") == before


async def test_a_page_shows_what_the_api_lists_and_nothing_in_it_is_script(api: Api):
    pages = await signed_in_client(api)
    evil = AuditEntry.model_validate(
        {
            **(await listed(api))["entries"][0],
            "actor": AuditActor(id="Zk3vT9qLm2Xa", name=EVIL, signed_in=False),
            "ids": {"jobId": EVIL},
            "client": EVIL,
            "request": EVIL,
        }
    )
    await AuditLog(api.store).write(evil)
    page = await pages.get("/audit")
    assert page.status_code == 200
    assert EVIL not in page.text
    assert page.text.count(ESCAPED) >= 2
    assert "sign-in" in page.text
    assert 'href="/audit" aria-current="page"' in page.text
    first = await pages.get("/audit", params={"limit": 2, "project": "shop", "action": ""})
    assert "cursor=" in first.text
    found = (await pages.get("/audit.json", params={"action": "run.cancel"})).json()
    assert {entry["action"] for entry in found["entries"]} == {"run.cancel"}
    # A field of a form has no zone.
    assert (await pages.get("/audit", params={"since": "2020-01-01T00:00", "until": "2020-01-02T00:00"})).text.count(
        "No entry matches"
    ) == 1
    assert (await pages.get("/audit", params={"since": "soon"})).status_code == 400
