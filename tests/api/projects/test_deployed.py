"""Projects as they are answered."""

from __future__ import annotations

from typing import Any

from temporal.pool_usage import MachineCounts
from tests.support.api_in_process import Api
from tests.support.constants import WORKSPACE

PROJECTS = f"/api/v1/workspace/{WORKSPACE}/projects"


async def get(api: Api, place: str = "") -> Any:
    answer = await api.client.get(f"{PROJECTS}{place}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_project_tells_its_version_its_apis_and_its_machines(api: Api) -> None:
    answer = await get(api, "/shop")
    assert {**answer, "version": "", "createdAt": ""} == {
        "name": "shop",
        "version": "",
        "createdAt": "",
        "apis": ["list", "products/details"],
        "apiAccess": True,
        "authSessions": None,
        "machines": {"wanted": 1, "offered": 3, "busy": 2, "warm": 1},
        "warnings": [],
    }
    assert len(answer["version"]) == 16


async def test_all_projects_are_listed_by_name(api: Api) -> None:
    answer = await get(api)
    shown = {project["name"]: project for project in answer["projects"]}
    assert {"closed", "closed-members", "members", "recorded", "shop"} <= shown.keys()
    assert list(shown) == sorted(shown)
    assert shown["shop"] == await get(api, "/shop")
    assert [shown[name]["authSessions"] for name in ("members", "recorded")] == ["API", "MANUAL"]
    assert shown["closed"]["apiAccess"] is False
    assert shown["members"]["machines"] == {"wanted": 1, "offered": 0, "busy": 0, "warm": 0}


async def test_where_temporal_cannot_tell_of_machines_there_are_none_told(api: Api) -> None:
    api.run_queries.offered = None
    assert (await get(api, "/shop"))["machines"] == {"wanted": 1, "offered": None, "busy": None, "warm": None}


async def test_the_machines_are_those_of_the_project(api: Api) -> None:
    api.run_queries.offered = {"shop": MachineCounts(offered=1), "members": MachineCounts(offered=2, busy=2)}
    assert (await get(api, "/shop"))["machines"] == {"wanted": 1, "offered": 1, "busy": 0, "warm": 0}


async def test_a_project_that_is_not_there_is_told_as_that(api: Api) -> None:
    for name in ("nope", "Shop", "%2e%2e"):
        assert (await api.client.get(f"{PROJECTS}/{name}")).status_code == 404
    elsewhere = "/api/v1/workspace/11111111-1111-1111-1111-111111111111/projects"
    assert (await api.client.get(elsewhere)).status_code == 404
