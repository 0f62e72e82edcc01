"""Who holds what is asked rarely, however many want to know it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import cast

from callboard.schemas.errors import Unavailable
from callboard.schemas.workflow.fleet import FleetState
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


def reading(*answers: FleetState | Unavailable) -> tuple[FleetReader, Answers]:
    told = Answers(*answers)
    return FleetReader(cast("FleetClient", told)), told


async def held(reader: FleetReader) -> int:
    """How many Machines of the project workers hold."""
    return (await reader.read({"shop": 1})).projects[0].held


ONE, TWO = fleet_state({"a": {"shop": 1}}), fleet_state({"a": {"shop": 2}})


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
