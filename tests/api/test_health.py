"""Health: alive, ready, and what is missing when it is not."""

import pytest

from schemas.errors import StoreError, Unavailable
from tests.support.api_in_process import Api, MakeApi

PROJECTS = ("closed", "closed-members", "members", "recorded", "shop")


async def test_alive_needs_no_key(api: Api):
    del api.client.headers["x-api-key"]
    answer = await api.client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


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
    api.runs.unserved.add("members")
    answer = await api.client.get("/readyz", headers=headers)
    assert (answer.status_code, answer.json()) == (503, {"status": "not-ready", "temporal": ok, "store": ok})
    api.runs.failure = Unavailable("Temporal at temporal.internal cannot be reached.")
    answer = await api.client.get("/readyz", headers=headers)
    assert answer.json() == {"status": "not-ready", "temporal": {"status": "failed"}, "store": ok}


@pytest.mark.parametrize("key", ["test-key-number-one-of-two", "schlüssel-nummer-zwei-von-zwei"])
async def test_any_of_the_keys_will_do_for_all_of_it(api: Api, key: str):
    del api.client.headers["x-api-key"]
    answer = await api.client.get("/readyz", headers=[(b"x-api-key", key.encode())])
    assert set(answer.json()["projects"]) == set(PROJECTS)


async def test_a_project_whose_machines_are_isolated_only_partially_is_a_warning(api: Api):
    api.runs.isolation = {"shop": "full", "members": "full"}
    assert (await api.client.get("/readyz")).json()["isolation"] == {"status": "ok"}
    api.runs.isolation = {"shop": "full", "members": "partial"}
    answer = await api.client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert answer.json()["isolation"]["status"] == "warning"
    assert "for the projects members." in answer.json()["isolation"]["message"]


async def test_shares_that_add_up_to_more_than_the_project_says_or_to_none_are_a_warning(api: Api):
    api.runs.offered = {"shop": 99, "closed": 1}
    answer = await api.client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    projects = answer.json()["projects"]
    assert projects["closed"] == {"status": "ok"}
    assert projects["members"]["status"] == projects["shop"]["status"] == "warning"
    assert "No worker offers a Machine" in projects["members"]["message"]
    assert "offer 99 Machines" in projects["shop"]["message"]


async def test_not_ready_while_temporal_is_away_and_alive_all_the_same(api: Api):
    api.runs.failure = Unavailable("Temporal cannot be reached. Try again.")
    answer = await api.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "not-ready",
        "temporal": {"status": "failed", "message": "Temporal cannot be reached. Try again."},
        "store": {"status": "ok"},
        "projects": {},
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
    api.runs.unserved.add("members")
    answer = await api.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["projects"]["members"]["status"] == "failed"
    assert answer.json()["projects"]["shop"] == {"status": "ok"}
