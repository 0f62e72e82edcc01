"""How many Runs wait is told by a metric, for as long as their project is deployed."""

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

import pytest

from api.runs import waiting
from api.runs.waiting import published_waiting
from callboard.projects.catalog import Catalog
from callboard.schemas.errors import StoreError, Unavailable
from callboard.temporal.run_queries import RunQueries
from tests.support.counted import Counted, counting
from tests.support.polling import until

WAITING = "callboard_runs_waiting"


@dataclass
class Installation:
    """What is deployed, and what waits: catalog and queries in one."""

    waiting: dict[str, int] = field(default_factory=lambda: {"shop": 3, "idle": 0})
    rounds: int = 0
    is_store_away: bool = False
    is_temporal_away: bool = False
    has_defect: bool = False

    async def list_projects(self) -> list[str]:
        self.rounds += 1
        if self.is_store_away:
            raise StoreError("It is away.")
        return sorted(self.waiting)

    async def count_waiting(self, project: str, *, created_before: datetime | None = None) -> int:  # noqa: ARG002
        if self.is_temporal_away:
            raise Unavailable("It is away.")
        if self.has_defect:
            raise ZeroDivisionError
        return self.waiting[project]

    def published(self) -> AbstractAsyncContextManager[None]:
        return published_waiting(cast("Catalog", self), cast("RunQueries", self))

    async def next_round(self) -> None:
        """Wait until a round that begins now has ended."""
        begun = self.rounds
        await until(lambda: self.rounds >= begun + 2)


def told(counted: Counted) -> dict[str, float]:
    """The last number of each project."""
    return {labels["project"]: value for name, value, labels in counted() if name == WAITING}


async def test_the_last_count_of_each_project_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(waiting, "_ROUND_INTERVAL", 0.0)
    monkeypatch.setattr(waiting, "_QUERY_INTERVAL", 0.001)
    installation = Installation()
    with counting() as counted:
        async with installation.published():
            await installation.next_round()
            assert told(counted) == {"shop": 3, "idle": 0}
            installation.is_temporal_away = True
            await installation.next_round()
            counted()
            await installation.next_round()
            assert told(counted) == {}, "they keep what was told last"
            installation.is_temporal_away, installation.is_store_away = False, True
            await installation.next_round()
            counted()
            await installation.next_round()
            assert told(counted) == {}
            installation.is_store_away = False
            del installation.waiting["shop"]
            installation.waiting["idle"] = 1
            await installation.next_round()
            assert told(counted) == {"shop": 0, "idle": 1}, "one that is gone has none"
            await installation.next_round()
            assert told(counted) == {"idle": 1}


async def test_what_nobody_has_foreseen_ends_no_counting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(waiting, "_ROUND_INTERVAL", 0.0)
    monkeypatch.setattr(waiting, "_QUERY_INTERVAL", 0.001)
    installation = Installation(has_defect=True)
    with counting() as counted:
        async with installation.published():
            await until(lambda: "could not be counted" in caplog.text)
            installation.has_defect = False
            await installation.next_round()
            assert told(counted) == {"shop": 3, "idle": 0}


async def test_what_nobody_can_read_is_not_counted():
    installation = Installation()
    async with installation.published():
        await asyncio.sleep(0)
    assert installation.rounds == 0
