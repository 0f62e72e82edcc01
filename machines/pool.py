"""The Machines of one project on this worker: as many slots as it may have Machines, taken in order of arrival."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from machines.machine import Begun, Launch
from machines.order import Order, Report, Version
from machines.slot import Limits, Slot


class Pool:
    """Never more Machines than `size`, also while that changes; a Machine is started when an Attempt needs it."""

    def __init__(self, project: str, size: int, launch: Launch, limits: Limits) -> None:
        self._project = project
        self._size = size
        self._launch = launch
        self._limits = limits
        self._free: list[Slot] = []
        self._busy: set[Slot] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._made = 0

    @property
    def busy(self) -> int:
        """Attempts that hold a slot."""
        return len(self._busy)

    @property
    def slots(self) -> list[Slot]:
        """All slots there are; some may have no Machine."""
        return [*self._free, *self._busy]

    async def run(self, version: Version, order: Order, on_begun: Callable[[Begun], None]) -> Report:
        """Execute one Attempt as soon as a slot is free.

        Raises:
            MachineError: No Machine could be started.
        """
        slot = await self._take(version)
        try:
            return await slot.run(version, order, on_begun)
        finally:
            await self._give_back(slot)

    async def resize(self, size: int) -> None:
        """Change how many Machines there may be. Busy ones finish; surplus idle ones are stopped."""
        self._size = size
        surplus = [self._free.pop() for _ in range(min(len(self._free), len(self.slots) - size))]
        for slot in surplus:
            await slot.close()
        self._wake()

    async def close(self) -> None:
        """Stop all idle Machines; the caller has seen to it that none is busy."""
        await self.resize(0)

    async def _take(self, version: Version) -> Slot:
        while not self._available():
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._wake()  # it was our turn: it is the next one's
                raise
            finally:
                if turn in self._waiting:
                    self._waiting.remove(turn)
        slot = next((slot for slot in self._free if slot.warm_for(version)), None)
        if slot is None and len(self.slots) < self._size:
            self._made += 1
            slot = Slot(f"{self._project}-{self._made}", self._launch, self._limits)
        elif slot is None:
            # An empty slot before one whose warm Machine another version could use.
            slot = next((slot for slot in self._free if slot.machine is None), self._free[0])
        if slot in self._free:
            self._free.remove(slot)
        self._busy.add(slot)
        return slot

    def _available(self) -> bool:
        return len(self._busy) < self._size

    async def _give_back(self, slot: Slot) -> None:
        self._busy.discard(slot)
        if len(self.slots) < self._size:
            self._free.append(slot)
            self._wake()
        else:
            await slot.close()

    def _wake(self) -> None:
        """Give their turn to as many as there are places."""
        places = self._size - len(self._busy)
        while self._waiting and places > 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                places -= 1
