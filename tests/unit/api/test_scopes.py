"""What a key allows: one scope for each route, and the projects that it sees, before anything else is looked at."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Route

from api.http.access import Requirement, requirement_of
from callboard.schemas.rest.access import Scope
from callboard.schemas.workflow.delivery import DeliveryStatus, TryProblem
from callboard.storage.object_keys import API_KEYS
from callboard.temporal.deliveries import DeliveryState
from tests.support.api_in_process import PROJECTS, Api, MakeApi, deploy_project
from tests.support.constants import WORKSPACE
from tests.support.dashboard_client import signed_in_client
from tests.support.faulty_store import FaultyStore
from tests.support.repository import REPOSITORY

FORM = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
# Page, heading, and what `…` stands for there.
_TABLES = (
    ("contract.md", "### 5.3 ", "/api/v1/workspace/{workspaceId}/projects/{projectName}"),
    ("pages.md", "## Addresses and scopes", "/projects/{projectName}"),
)
_ROW = re.compile(r"^\| (?:`([a-z:-]+)`(?: and `([a-z:-]+)`)?|(any|no key)) \| (.+) \|$", re.MULTILINE)
_CALL = re.compile(r"`([A-Z]+) ([^` ]+)`")


def documented_scopes() -> dict[tuple[str, str], tuple[str, ...]]:
    """The scopes of each method and path, all of which it needs, as the docs have it: none for any key, or none."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for page, heading, project in _TABLES:
        text = (REPOSITORY / "docs" / page).read_text("utf-8")
        _, _, section = text.partition(f"\n{heading}")
        for scope, other, _, calls in _ROW.findall(re.split(r"^#", section, maxsplit=1, flags=re.MULTILINE)[0]):
            for method, path in _CALL.findall(calls):
                call = (method, path.replace("…", project))
                assert call not in found, f"{call} stands in the tables twice"
                found[call] = tuple(each for each in (scope, other) if each)
    return found


def routes(app: FastAPI) -> Iterator[tuple[str, str, Requirement | None]]:
    """Method, path and requirement of each route that a client may call."""
    for route in app.routes:
        if isinstance(route, Route):
            needs = requirement_of(route) if isinstance(route, APIRoute) else None
            for method in (route.methods or set()) - {"HEAD", "OPTIONS"}:
                yield method, route.path.replace(":path}", "}"), needs


TABLE = documented_scopes()


def filled(path: str, project: str = "shop") -> str:
    names = {"workspaceId": WORKSPACE, "projectName": project, "number": "1", "change": "pause"}
    return path.format_map(defaultdict(lambda: "x", names))


async def call(api: Api, key: str, method: str, path: str, content: bytes = b"") -> httpx.Response:
    """Call it with this key alone; a page answers with JSON."""
    is_page = not path.startswith("/api/")
    headers = {"x-api-key": key, **(FORM if is_page else {})}
    return await api.client.request(method, path, headers=headers, content=content)


def missing_scope(answer: httpx.Response) -> str | None:
    """Which scope the answer says is missing; None if it says something else."""
    if answer.status_code != 403:
        return None
    body = answer.json()
    scope = (body.get("details") or {}).get("scope")
    assert scope is None or (scope in body["message"] and body["code"] == "forbidden")
    return scope


def with_scope() -> Iterable[tuple[str, str, tuple[str, ...]]]:
    return [(method, path, scopes) for (method, path), scopes in TABLE.items() if scopes]


async def test_each_route_stands_in_the_contract_with_its_scope(api: Api):
    known: dict[tuple[str, str], tuple[str, ...]] = {}
    for method, path, needs in routes(api.app):
        if path.startswith("/codec/"):
            continue  # it is no route of FastAPI, and checks its caller by itself
        is_page = not path.startswith("/api/") and path != "/openapi.json"
        known[method, path.removesuffix(".json") if is_page else path] = needs.scopes if needs else ()
    assert known == {call: scopes for call, scopes in TABLE.items() if not call[1].startswith("/codec/")}


async def test_what_changes_something_has_a_name_for_the_audit(api: Api):
    for method, path, needs in routes(api.app):
        if needs is not None:
            # Who takes a browser is in the audit, and not each of the clicks.
            is_unnamed = method == "GET" or path.endswith("/live/input")
            assert (needs.action is None) is is_unnamed, (method, path)


@pytest.mark.parametrize("scope", [*Scope])
async def test_a_scope_opens_its_own_routes_and_no_other(api: Api, scope: Scope):
    key = await api.make_key(scope)
    opened = 0
    for method, path, needed in with_scope():
        missing = None if scope is Scope.ADMIN else next((each for each in needed if each != scope), None)
        answer = await call(api, key, method, filled(path), b"{" * 2000)
        assert missing_scope(answer) == missing, (method, path, answer.text)
        opened += missing is None
    assert opened


@pytest.mark.parametrize("project", ["shop", "nowhere", "%2e%2e", "SHOP"])
async def test_a_project_that_a_key_may_not_see_is_one_that_does_not_exist(
    make_api: MakeApi, tmp_path: Path, project: str
):
    store = FaultyStore(tmp_path / "artifacts")
    for name in ("shop", "members"):
        await deploy_project(tmp_path / name, store)
    api = await make_api(store=store)
    key = await api.make_key(*Scope, projects=["members"])
    await call(api, key, "GET", filled("/api/v1/workspace/{workspaceId}/projects", ""))
    store.tries.clear()
    for method, path, _ in with_scope():
        if "{projectName}" in path:
            answer = await call(api, key, method, filled(path, project), b"{" * 2000)
            assert answer.status_code == 404, (method, path, answer.text)
            body = answer.json()
            name = {"%2e%2e": ".."}.get(project, project)
            assert body["message"] == f"There is no project {name!r} deployed here."
            assert "details" not in body
    # The key is looked up again every few seconds, and nothing else is.
    assert all(key.startswith(("audit/", API_KEYS)) for key in store.tries)
    assert api.runs.entries == {}


async def test_a_key_for_some_projects_touches_nothing_of_the_whole_workspace(api: Api):
    key = await api.make_key("admin", projects=["shop"])
    refused: set[str] = set()
    for method, path, needed in with_scope():
        if "{projectName}" not in path:
            answer = await call(api, key, method, filled(path))
            if missing_scope(answer) is not None:
                assert (missing_scope(answer),) == needed
                assert "for all projects" in answer.json()["message"]
                refused.add(path)
    workspace = "/api/v1/workspace/{workspaceId}"
    assert {f"{workspace}/env-vars", f"{workspace}/env-vars/{{name}}", "/codec/decode"} <= refused
    own = {f"{workspace}/projects", f"{workspace}/keys", f"{workspace}/keys/{{keyId}}", "/projects"}
    assert own & refused == set()


@pytest.mark.parametrize("path", ["/api/v1/workspace/{workspaceId}/projects", "/projects.json"])
async def test_lists_of_projects_have_those_that_the_key_may_see(api: Api, path: str):
    def names(answer: Any) -> list[str]:
        return [each.get("name") or each["project"] for each in answer.json()["projects"]]

    some = await api.make_key("runs:read", projects=["shop", "members", "nowhere"])
    assert names(await call(api, some, "GET", filled(path))) == ["members", "shop"]
    everything = await api.make_key("runs:read")
    assert names(await call(api, everything, "GET", filled(path))) == sorted(PROJECTS)


async def test_a_suggestion_names_only_projects_that_the_key_may_see(api: Api):
    key = await api.make_key("runs:read", projects=["shpo", "members"])
    answer = await call(api, key, "GET", filled("/api/v1/workspace/{workspaceId}/projects/{projectName}", "shpo"))
    assert answer.json()["message"] == "There is no project 'shpo' deployed here."


async def test_canceling_tells_no_result_to_a_key_that_may_not_read(api: Api):
    run_id = await api.run()
    key = await api.make_key("runs:cancel")
    answer = await api.client.post(f"{api.base}/{run_id}/cancel?wait=0", headers={"x-api-key": key})
    assert answer.status_code == 200
    assert answer.json().keys() == {"runId", "status"}


async def test_a_redelivery_tells_no_earlier_answers_to_a_key_that_may_not_read(api: Api):
    run_id = await api.run()
    keys = [await api.make_key("runs:start"), await api.make_key("runs:start", "runs:read")]
    problem = TryProblem(type="http", message="The receiver said a secret.")
    api.deliveries.known[run_id] = [DeliveryState("sink", {"type": "webhook"}, DeliveryStatus.FAILED, problem)]
    place = filled("/api/v1/workspace/{workspaceId}/projects/{projectName}/runs/")
    answers = [
        await api.client.post(f"{place}{run_id}/deliveries/sink/redeliver", headers={"x-api-key": key}) for key in keys
    ]
    assert [(answer.status_code, "a secret" in answer.text) for answer in answers] == [(202, False), (202, True)]


async def test_a_project_is_called_alike_in_all_paths_and_few_routes_name_none(api: Api):
    workspace = "/api/v1/workspace/{workspaceId}"
    of_seen: set[str] = set()
    for _, path, needs in routes(api.app):
        assert ("/projects/{" in path) is ("/projects/{projectName}" in path), path
        if needs is not None and needs.of_seen_projects:
            assert "{projectName}" not in path
            of_seen.add(path.removesuffix(".json"))
    own = {f"{workspace}/projects", f"{workspace}/keys", f"{workspace}/keys/{{keyId}}"}
    assert of_seen == own | {"/projects", "/keys", "/keys/{keyId}/revoke"}, "these keep to what the key may see"


async def test_two_keys_in_one_request_do_not_add_up(api: Api):
    reads, starts = await api.make_key("runs:read", projects=["shop"]), await api.make_key("jobs", projects=["members"])
    pages = await signed_in_client(api, starts)
    shop, members = (f"/api/v1/workspace/{WORKSPACE}/projects/{name}" for name in ("shop", "members"))
    both = {"x-api-key": reads, "authorization": f"Bearer {starts}"}
    for path, status in ((f"{shop}/runs", 200), (f"{shop}/jobs", 403), (f"{members}/jobs", 404)):
        assert (await pages.get(path, headers=both)).status_code == status, path
    for path, status in (("/projects/members/jobs", 200), ("/projects/shop/runs", 404)):
        assert (await pages.get(path)).status_code == status, path
    for path, status in (("/projects/members/jobs", 404), ("/projects/shop/runs", 200), ("/projects/shop/jobs", 403)):
        assert (await pages.get(path, headers={"x-api-key": reads})).status_code == status, path
    assert (await pages.get(f"{members}/jobs")).status_code == 401, "a session is no key of the API"


@pytest.mark.parametrize("api_v1", ["/API/v1", "//api/v1", "/api%2Fv1", "/./api/v1", "/projects/../api/v1", "/api;/v1"])
async def test_no_other_spelling_leads_past_the_key(api: Api, api_v1: str):
    del api.client.headers["x-api-key"]
    assert (await api.client.get(f"{api_v1}/workspace/{WORKSPACE}/projects")).status_code in (401, 404)
