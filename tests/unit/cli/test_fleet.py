"""`callboard fleet` and `callboard doctor` say who holds which Machines and what is missing, as the api tells them."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from callboard.cli.doctor.findings import Finding, Status
from callboard.cli.doctor.fleet import check_fleet
from callboard.cli.doctor.target import Installation
from callboard.dev.data_folder import connection_file, lock_data_folder
from callboard.schemas.errors import Forbidden
from callboard.schemas.workflow.fleet import FleetState
from callboard.settings import Settings
from callboard.storage.folder import FolderStore
from tests.support.api_in_process import KEY, Api, api_settings, deploy_project
from tests.support.commands import Commands
from tests.support.constants import WORKSPACE
from tests.support.fleet_stage import fleet_state
from tests.support.in_memory_temporal import MemoryRuns

STATE = fleet_state(
    {"b": {"mail": 1}, "a": {"mail": 2}},
    {"mail": 5},
    a={"leaving": True, "capacity": 4, "busy": {"mail": 1}, "warm": {"mail": 1}, "isolation": "open"},
    b={"max_machines": 9, "isolation": "full"},
)


async def api_with(folder: Path, state: FleetState | None, **machines: int) -> Api:
    """An api of projects that have so many Machines each, while the workflow `Fleet` knows this."""
    store = FolderStore(folder / "store")
    for project, count in machines.items():
        await deploy_project(folder / project, store, replication={"maxConcurrentRequests": count})
    api = await Api.make(api_settings(), store, MemoryRuns())
    api.fleet.state = state
    return api


async def shown_fleet(api: Api, *options: str, key: str = KEY) -> Result:
    async with api.served() as url:
        return await Commands(api, url)("fleet", *options, CALLBOARD_API_KEY=key)


Check = Callable[..., Awaitable[list[Finding]]]
"""Has the doctor look at an api, with such settings."""


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> Check:
    async def check(api: Api, **fields: Any) -> list[Finding]:
        async with api.served() as url:
            name_api(monkeypatch, url)
            return await asyncio.to_thread(check_fleet, Installation(Settings(**fields), dev=False))

    return check


def name_api(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name, value in {"URL": url, "API_KEY": KEY, "WORKSPACE_ID": WORKSPACE}.items():
        monkeypatch.setenv(f"CALLBOARD_{name}", value)


async def test_it_shows_workers_and_projects(tmp_path: Path):
    shown = await shown_fleet(await api_with(tmp_path, STATE, mail=5, shop=1))
    assert shown.exit_code == 0, shown.output
    rows = [re.split(r" {2,}", line) for line in shown.stdout.splitlines()]
    for row in (
        ["a", "host-of-a", "2 of 4", "1 busy, 1 warm", "open", "leaving"],
        ["b", "host-of-b", "1 of 8", "0 busy, 0 warm", "full", "serving"],
        ["mail", "3 of 5", "1 busy, 1 warm", "a (2), b (1)", "2 of 5: its workers have no room for more"],
        ["shop", "0 of 1", "0 busy, 0 warm", "1 of 1: no worker serves it"],
    ):
        assert row in rows, shown.stdout
    assert "Projects, of which all together may have 9" in shown.output


async def test_as_json(tmp_path: Path):
    shown = await shown_fleet(await api_with(tmp_path, STATE, mail=5, shop=1), "--json")
    answer = json.loads(shown.stdout)
    assert answer["limit"] == 9
    assert answer["workers"][0] == {
        "worker": "a",
        "host": "host-of-a",
        "capacity": 4,
        "machines": 2,
        "busy": 1,
        "warm": 1,
        "isolation": "open",
        "projects": {"mail": 2},
        "state": "leaving",
        "maxMachines": None,
    }
    assert answer["projects"][1] == {
        "project": "shop",
        "machines": 1,
        "held": 0,
        "workers": {},
        "missing": 1,
        "reason": "not-served",
        "message": "1 of 1: no worker serves it",
        "busy": 0,
        "warm": 0,
        "isolation": None,
    }


async def test_a_key_of_some_projects_is_not_told_of_all_workers(tmp_path: Path):
    api = await api_with(tmp_path, STATE, mail=5)
    shown = await shown_fleet(api, key=await api.make_key("admin", projects=["mail"]))
    assert isinstance(shown.exception, Forbidden)
    assert "for all projects" in str(shown.exception)


@pytest.mark.parametrize(
    ("state", "machines", "status", "said"),
    [
        (FleetState(), {}, Status.WARNING, "No project is deployed."),
        (FleetState(), {"shop": 1}, Status.FAILED, "No worker serves shop: their Runs wait."),
        (fleet_state({"a": {"shop": 1}}), {"shop": 1}, Status.OK, "1 project is deployed, with 1 Machine"),
        (
            fleet_state({"a": {"shop": 4}}, {"shop": 9}),
            {"shop": 9},
            Status.WARNING,
            "Machines are missing: shop (5 of 9: its workers have no room for more).",
        ),
        (None, {"shop": 1}, Status.FAILED, "No worker has said who holds which Machines."),
    ],
    ids=["nothing deployed", "nobody serves", "all held", "no room", "nobody answers"],
)
async def test_the_doctor_says_whether_projects_have_their_machines(
    tmp_path: Path, checked: Check, state: FleetState | None, machines: dict[str, int], status: Status, said: str
) -> None:
    found = (await checked(await api_with(tmp_path, state, **machines)))[0]
    assert (found.status, found.message) == (status, said)
    assert (found.fix is None) is (status is Status.OK)


@pytest.mark.parametrize(
    ("here", "workers", "status", "said"),
    [
        (None, {"a": None}, Status.OK, "There is none (CALLBOARD_MAX_MACHINES); all projects together have 5"),
        (5, {"a": 5}, Status.OK, "All projects together may have 5 Machines, and have 5"),
        (4, {"a": 4}, Status.WARNING, "All projects together ask for 5 Machines, and may have 4"),
        (9, {"a": 9, "b": 7, "c": None}, Status.WARNING, "is 9 here, and otherwise on the workers b, c."),
        (9, {"a": 9, "b": 7}, Status.WARNING, "the smallest number that one of them has, which is 7."),
    ],
)
async def test_what_is_not_within_the_limit_of_all_projects_is_told(
    tmp_path: Path, checked: Check, here: int | None, workers: dict[str, int | None], status: Status, said: str
) -> None:
    limits = {worker: {"max_machines": limit} for worker, limit in workers.items()}
    api = await api_with(tmp_path, fleet_state({worker: {} for worker in workers}, {}, **limits), shop=3, mail=2)
    _, found = await checked(api, max_machines=here)
    assert found.status is status
    assert said in found.message
    assert (found.fix is not None) is (status is Status.WARNING)


async def test_of_callboard_dev_the_limit_is_what_its_worker_was_told(tmp_path: Path) -> None:
    api = await api_with(tmp_path, fleet_state({"a": {}}, {}, a={"max_machines": 4}), shop=3, mail=2)
    async with api.served() as url:
        connection: dict[str, str | int] = {"url": url, "workspaceId": WORKSPACE, "apiKey": KEY}
        data = tmp_path / "data"
        with lock_data_folder(data), connection_file(data, connection):
            place = Installation(Settings(data_dir=data), dev=True)
            _, found = await asyncio.to_thread(check_fleet, place)
    assert (found.status, "may have 4 (CALLBOARD_MAX_MACHINES)" in found.message) == (Status.WARNING, True)


def test_the_doctor_says_which_api_it_could_not_ask(free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = check_fleet(Installation(Settings(), dev=False))
    assert (found.status, "CALLBOARD_URL" in (found.fix or "")) == (Status.WARNING, True)
    name_api(monkeypatch, f"http://127.0.0.1:{free_port}")
    (found,) = check_fleet(Installation(Settings(), dev=False))
    assert found.status is Status.FAILED
    assert f"The API at http://127.0.0.1:{free_port} cannot be reached" in found.message
    assert (found.fix or "").startswith("Start `callboard api`")
