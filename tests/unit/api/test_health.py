"""Health: alive, ready, and what is missing when it is not."""

import asyncio

import pytest

from callboard.schemas.errors import StoreError, Unavailable
from tests.support.api_in_process import KEY, PROJECTS, Api, MakeApi
from tests.support.fleet_stage import fleet_state

UNANSWERED = {"status": "warning", "message": "No worker has said who holds which Machines. Start `callboard worker`."}


async def test_alive_needs_no_key_and_what_has_ended_is_told_to_those_with_one(api: Api):
    async def health(key: str | None) -> tuple[int, dict[str, str]]:
        api.client.headers.pop("x-api-key", None)
        answer = await api.client.get("/healthz", headers={} if key is None else {"x-api-key": key})
        return answer.status_code, answer.json()

    assert await health(None) == (200, {"status": "alive"})
    ended = asyncio.create_task(asyncio.sleep(0))
    api.services.liveness.task("The count", ended)
    await ended
    assert await health(KEY) == (503, {"status": "not-alive", "message": "The count has ended."})
    assert await health(None) == await health("test-key-on") == (503, {"status": "not-alive"})
    api.services.liveness.leave()
    assert (await health(None))[0] == 200, "it is about to end"


async def test_ready_names_temporal_the_store_and_the_projects(api: Api):
    answer = await api.client.get("/readyz")
    assert answer.status_code == 200
    ok = {"status": "ok"}
    projects = dict.fromkeys(PROJECTS, ok)
    assert answer.json() == {"status": "ready", "temporal": ok, "store": ok, "projects": projects}


@pytest.mark.parametrize("key", [None, "", "test-key-on", "schlüssel"])
async def test_without_a_valid_key_only_states_are_told(make_api: MakeApi, key: str | None):
    api = await make_api(ready_needs_workers=True)
    del api.client.headers["x-api-key"]
    headers = [] if key is None else [(b"x-api-key", key.encode())]
    ok = {"status": "ok"}
    answer = await api.client.get("/readyz", headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "temporal": ok, "store": ok})
    api.fleet.state = fleet_state({"worker-1": dict.fromkeys({*PROJECTS} - {"members"}, 1)})
    answer = await api.client.get("/readyz", headers=headers)
    assert (answer.status_code, answer.json()) == (503, {"status": "not-ready", "temporal": ok, "store": ok})
    api.runs.failure = Unavailable("Temporal at temporal.internal cannot be reached.")
    answer = await api.client.get("/readyz", headers=headers)
    assert answer.json() == {"status": "not-ready", "temporal": {"status": "failed"}, "store": ok}


async def test_a_project_whose_machines_are_not_isolated_fully_is_a_warning(api: Api):
    held, level = {"a": {"shop": 1, "members": 1}, "b": {"members": 1}}, {"isolation": "full"}
    api.fleet.state = fleet_state(held, a=level, b=level)
    assert (await api.client.get("/readyz")).json()["isolation"] == {"status": "ok"}
    api.fleet.state = fleet_state(held, a=level, b={"isolation": "open"})
    answer = await api.client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert answer.json()["isolation"]["status"] == "warning"
    assert "not isolated fully: members (open)." in answer.json()["isolation"]["message"]


async def test_missing_machines_are_a_warning_unless_a_worker_gets_them_soon(api: Api):
    plan = {"shop": 1, "members": 1, "closed": 0}
    held = {"shop": 1, "members": 0, "closed": 0}
    api.fleet.state = fleet_state({"one": held}, dict.fromkeys(held, 1), one={"plan": plan})
    answer = await api.client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    projects = answer.json()["projects"]
    assert projects["shop"] == projects["members"] == {"status": "ok"}
    assert projects["closed"] == {
        "status": "warning",
        "message": "Machines are missing, 1 of 1: its workers have no room for more.",
    }
    assert projects["recorded"] == {
        "status": "warning",
        "message": "Machines are missing, 1 of 1: no worker serves it. No Run of the project is executed.",
    }


@pytest.mark.parametrize(("needed", "status"), [(False, "warning"), (True, "failed")])
async def test_that_no_worker_answers_is_said_of_every_project(make_api: MakeApi, needed: bool, status: str):
    api = await make_api(ready_needs_workers=needed)
    api.fleet.state = None
    answer = await api.client.get("/readyz")
    assert answer.status_code == (503 if needed else 200)
    assert answer.json()["projects"] == dict.fromkeys(PROJECTS, UNANSWERED | {"status": status})


async def test_not_ready_while_temporal_is_away_and_alive_all_the_same(api: Api):
    api.runs.failure = Unavailable("Temporal cannot be reached. Try again.")
    api.fleet.state = None
    answer = await api.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "not-ready",
        "temporal": {"status": "failed", "message": "Temporal cannot be reached. Try again."},
        "store": {"status": "ok"},
        "projects": dict.fromkeys(PROJECTS, UNANSWERED),
    }
    assert (await api.client.get("/healthz")).status_code == 200


async def test_not_ready_while_the_store_is_away(make_api: MakeApi):
    class Away:
        async def check(self) -> None:
            raise StoreError("The artifact store cannot be written.")

        async def get(self, _key: str) -> bytes | None:
            raise StoreError("The artifact store cannot be read.")

    for fields in ({}, {"ready_needs_workers": True}):
        api = await make_api(store=Away(), **fields)
        answer = await api.client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["store"] == {"status": "failed", "message": "The artifact store cannot be written."}
        assert answer.json()["projects"] == {}


async def test_in_the_embedded_stack_every_project_needs_a_worker(make_api: MakeApi):
    api = await make_api(ready_needs_workers=True)
    answer = await api.client.get("/readyz")
    assert answer.status_code == 200
    assert set(answer.json()["projects"]) == set(PROJECTS)
    held = dict.fromkeys({*PROJECTS} - {"members"}, 1)
    for fewer, one in ((held, {}), (held | {"members": 0}, {"plan": held | {"members": 1}})):
        api.fleet.state = fleet_state({"one": fewer}, {"members": 1}, one=one)
        answer = await api.client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["projects"]["members"]["status"] == "failed"
    assert answer.json()["projects"]["shop"] == {"status": "ok"}
