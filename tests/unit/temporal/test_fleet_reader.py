"""Who holds what is asked rarely, however many want to know it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import cast

import pytest

from callboard.schemas.errors import Unavailable
from callboard.schemas.workflow.fleet import FleetState
from callboard.temporal import fleet_view
from callboard.temporal.fleet import FleetClient
from callboard.temporal.fleet_view import FleetReader
from tests.support.fleet_stage import fleet_state


class Answers:
    """Answers in turn in place of the workflow; each takes until `go` is set."""

    def __init__(self, *answers: FleetState | Unavailable) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.go = asyncio.Event()
        self.go.set()

    async def read_state(self, _timeout: timedelta) -> FleetState:
        self.asked += 1
        await self.go.wait()
        answer = self.answers[self.asked - 1]
        if isinstance(answer, Unavailable):
            raise answer
        return answer


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(fleet_view, "time", clock)
    return clock


def reading(*answers: FleetState | Unavailable) -> tuple[FleetReader, Answers]:
    told = Answers(*answers)
    return FleetReader(cast("FleetClient", told)), told


async def held(reader: FleetReader) -> int:
    """How many Machines of the project workers hold."""
    return (await reader.read({"shop": 1})).projects[0].held


ONE, TWO = fleet_state({"a": {"shop": 1}}), fleet_state({"a": {"shop": 2}})


async def test_all_who_ask_within_a_second_share_an_answer(clock: Clock) -> None:
    reader, told = reading(ONE, TWO)
    told.go.clear()
    asking = [asyncio.create_task(held(reader)) for _ in range(50)]
    await asyncio.sleep(0)
    told.go.set()
    assert await asyncio.gather(*asking) == [1] * 50
    clock.now += 0.9
    assert await held(reader) == 1
    assert told.asked == 1
    clock.now += 0.2
    assert await held(reader) == 2


async def test_a_failure_is_shared_for_some_seconds(clock: Clock) -> None:
    reader, told = reading(Unavailable("No worker."), ONE)
    for _ in range(3):
        with pytest.raises(Unavailable, match="No worker"):
            await held(reader)
        clock.now += 1.5
    assert told.asked == 1
    clock.now += 1.5
    assert await held(reader) == 1


async def test_whoever_asks_first_and_leaves_takes_the_answer_from_nobody() -> None:
    reader, told = reading(ONE, TWO)
    told.go.clear()
    first, second = asyncio.create_task(held(reader)), asyncio.create_task(held(reader))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    assert first.cancelled()
    told.go.set()
    assert await second == 2
