"""What a key allows: one scope for each route, and the projects that it sees, before anything else is looked at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest

from schemas.rest.access import Scope
from tests.support.api_in_process import PROJECTS, Api, MakeApi, deploy_project
from tests.support.constants import WORKSPACE
from tests.support.contract_table import documented_scopes, routes
from tests.support.faulty_store import FaultyStore

TABLE = documented_scopes()
NOT_A_SCOPE = ("any", "no key")
FORM = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}


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


def with_scope() -> Iterable[tuple[str, str, str]]:
    return [(method, path, scope) for (method, path), scope in TABLE.items() if scope not in NOT_A_SCOPE]


async def test_each_route_stands_in_the_contract_with_its_scope(api: Api):
    known: dict[tuple[str, str], str | None] = {}
    for method, path, needs in routes(api.app):
        if path.startswith("/codec/"):
            continue  # it is no route of FastAPI, and checks its caller by itself
        is_page = not path.startswith("/api/") and path != "/openapi.json"
        known[method, path.removesuffix(".json") if is_page else path] = needs and needs.scope.value
    table = {call: None if scope in NOT_A_SCOPE else scope for call, scope in TABLE.items()}
    table = {call: scope for call, scope in table.items() if not call[1].startswith("/codec/")}
    assert known == table


async def test_what_changes_something_has_a_name_for_the_audit(api: Api):
    for method, path, needs in routes(api.app):
        if needs is not None:
            assert (needs.action is None) is (method == "GET"), (method, path)


@pytest.mark.parametrize("scope", [*Scope])
async def test_a_scope_opens_its_own_routes_and_no_other(api: Api, scope: Scope):
    key = await api.make_key(scope)
    opened = 0
    for method, path, needed in with_scope():
        allowed = scope in (Scope.ADMIN, needed)
        answer = await call(api, key, method, filled(path), b"{" * 2000)
        assert missing_scope(answer) == (None if allowed else needed), (method, path, answer.text)
        opened += allowed
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
    assert all(key.startswith("audit/") for key in store.tries), "nothing is looked up"
    assert api.runs.entries == {}


async def test_a_key_for_some_projects_touches_nothing_of_the_whole_workspace(api: Api):
    key = await api.make_key("admin", projects=["shop"])
    refused: set[str] = set()
    for method, path, needed in with_scope():
        if "{projectName}" not in path:
            answer = await call(api, key, method, filled(path))
            if missing_scope(answer) is not None:
                assert missing_scope(answer) == needed
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
