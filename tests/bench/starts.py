"""Starts that come at a steady pace, however late they are answered, as those of many clients do."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from temporalio.service import RPCError

from tests.support.rest import Refused

PER_SECOND = 20


@dataclass
class Starts:
    """One way to start something, and how long each start took until it was accepted."""

    name: str
    start: Callable[[], Awaitable[object]]
    took: list[list[float]] = field(default_factory=list[list[float]])
    """Seconds of the accepted starts, one list for each turn."""
    refused: int = 0

    async def turn(self, count: int) -> None:
        """Make so many starts more."""
        loop = asyncio.get_running_loop()
        took: list[float] = []

        async def make() -> None:
            began = loop.time()
            try:
                await self.start()
            except (Refused, RPCError):
                self.refused += 1
            else:
                took.append(loop.time() - began)

        first = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                await asyncio.sleep(first + number / PER_SECOND - loop.time())
                group.create_task(make())
        self.took.append(took)

    @property
    def medians(self) -> list[float]:
        """Median seconds of the starts of each turn."""
        return [statistics.median(took) for took in self.took]
