"""Projects as they are answered."""

from tests.support.api_in_process import Api
from tests.support.fleet_stage import fleet_state


async def test_a_project_tells_its_version_its_apis_and_its_machines(api: Api):
    answer = await api.ask("")
    assert {**answer, "version": "", "createdAt": ""} == {
        "name": "shop",
        "version": "",
        "createdAt": "",
        "apis": ["list", "products/details"],
        "apiAccess": True,
        "authSessions": None,
        "machines": {
            "wanted": 1,
            "held": 1,
            "workers": [{"worker": "worker-1", "host": "host-of-worker-1", "machines": 1}],
            "missing": None,
            "busy": 2,
            "warm": 1,
            "isolation": None,
        },
        "warnings": [],
    }
    assert len(answer["version"]) == 16


async def test_all_projects_are_listed_by_name(api: Api):
    answer = await api.ask("", project="")
    shown = {project["name"]: project for project in answer["projects"]}
    assert {"closed", "closed-members", "members", "recorded", "shop"} <= shown.keys()
    assert list(shown) == sorted(shown)
    assert shown["shop"] == await api.ask("")
    assert [shown[name]["authSessions"] for name in ("members", "recorded")] == ["API", "MANUAL"]
    assert shown["closed"]["apiAccess"] is False
    assert [shown["members"]["machines"][count] for count in ("held", "busy", "warm")] == [1, 0, 0]


async def test_what_nobody_can_tell_of_machines_is_not_said(api: Api):
    api.fleet.state = None  # no worker answers
    machines = (await api.ask(""))["machines"]
    unknown = dict.fromkeys(("held", "workers", "missing", "busy", "warm", "isolation"))
    assert machines == {**unknown, "wanted": 1}


async def test_the_machines_are_those_of_the_project(api: Api):
    api.fleet.state = fleet_state({"a": {"members": 1}}, a={"busy": {"members": 1}, "isolation": "full"})
    shop, members = [(await api.ask("", project))["machines"] for project in ("shop", "members")]
    assert (shop["held"], shop["workers"], shop["busy"], shop["isolation"]) == (0, [], 0, None)
    assert shop["missing"] == {"machines": 1, "reason": "not-served", "message": "1 of 1: no worker serves it"}
    assert (members["held"], members["missing"], members["busy"], members["isolation"]) == (1, None, 1, "full")
