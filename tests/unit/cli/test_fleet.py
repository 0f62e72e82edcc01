"""`callboard fleet` shows who holds what, and what is missing, of projects that no worker serves, too."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from typer.testing import Result

from cli import fleet
from projects.deploy import deploy
from projects.skeleton import write_skeleton
from schemas.workflow.fleet import FleetState
from settings import Settings
from storage.folder import FolderStore
from tests.support.fake_api import callboard
from tests.support.fleet_stage import fleet_state

STATE = fleet_state(
    {"b": {"mail": 1}, "a": {"mail": 2}}, {"mail": 5}, a={"leaving": True, "capacity": 4}, b={"max_machines": 9}
)


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(_settings: Settings) -> FleetState:
        return STATE

    monkeypatch.setattr(fleet, "_read_state", read)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """An artifact store with the project `shop`."""
    write_skeleton(tmp_path, "shop")
    asyncio.run(deploy(tmp_path / "shop", FolderStore(tmp_path / "artifacts")))
    return tmp_path / "artifacts"


def shown_fleet(*options: str, store: Path) -> Result:
    return callboard("fleet", *options, CALLBOARD_ARTIFACTS=str(store), CALLBOARD_TEMPORAL_ADDRESS="127.0.0.1:1")


def test_it_shows_workers_and_projects(store: Path):
    shown = shown_fleet(store=store)
    assert shown.exit_code == 0, shown.output
    rows = [re.split(r" {2,}", line) for line in shown.stdout.splitlines()]
    for row in (
        ["a", "host-of-a", "2 of 4", "leaving"],
        ["b", "host-of-b", "1 of 8", "serving"],
        ["mail", "3 of 5", "a (2), b (1)", "2 of 5: its workers have no room for more"],
        ["shop", "0 of 1", "1 of 1: no worker serves it"],
    ):
        assert row in rows, shown.stdout
    assert "Projects, of which all together may have 9" in shown.output


def test_as_json(store: Path):
    shown = shown_fleet("--json", store=store)
    answer = json.loads(shown.stdout)
    assert answer["limit"] == 9
    assert answer["workers"][0] == {
        "worker": "a",
        "host": "host-of-a",
        "capacity": 4,
        "machines": 2,
        "projects": {"mail": 2},
        "state": "leaving",
    }
    assert answer["projects"][1] == {
        "project": "shop",
        "machines": 1,
        "held": 0,
        "workers": {},
        "missing": 1,
        "reason": "not-served",
        "message": "1 of 1: no worker serves it",
    }


def test_without_a_store_it_says_that_projects_may_be_left_out(tmp_path: Path):
    (tmp_path / "file").touch()
    shown = shown_fleet("--json", store=tmp_path / "file")
    assert [each["project"] for each in json.loads(shown.stdout)["projects"]] == ["mail"]
    assert "Projects that no worker serves are not shown." in shown.stderr
