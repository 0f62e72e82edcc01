"""The Machines of one project on this worker: as many slots as it may have Machines, taken in order of arrival.

A Machine is started when an Attempt needs it, and one more, ahead, where an Attempt had to wait for a warm one to clean
up after the last: the Attempt after a check, or of a client that starts Run after Run, finds it ready from then on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from machines.attempt_spec import AttemptReport, AttemptSpec, Version
from machines.cancellation import uncancellable
from machines.machine import Begun, Launch
from machines.slot import Limits, Slot
from schemas.errors import MachineError

log = logging.getLogger(__name__)


class Pool:
    """Never more Machines than `size`, also while that changes."""

    def __init__(self, project: str, size: int, launch: Launch, limits: Limits) -> None:
        self._project = project
        self._size = size
        self._launch = launch
        self._limits = limits
        self._free: list[Slot] = []
        """Used least recently first."""
        self._busy: set[Slot] = set()
        self._warming: dict[Slot, asyncio.Task[None]] = {}
        """Nobody's, while their Machine is being started ahead."""
        self._closing: set[Slot] = set()
        """No longer to be had, but their Machines still count."""
        self._waiting: deque[tuple[Version, asyncio.Future[Slot]]] = deque()
        self._made = 0

    @property
    def busy(self) -> int:
        """Attempts that hold a slot."""
        return len(self._busy)

    @property
    def warm(self) -> int:
        """Machines that are up and have no Attempt."""
        return sum(slot.machine is not None for slot in self._free)

    @property
    def slots(self) -> list[Slot]:
        """All slots there are; some may have no Machine."""
        return [*self._free, *self._busy, *self._warming]

    async def run(self, version: Version, order: AttemptSpec, on_begun: Callable[[Begun], None]) -> AttemptReport:
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
        if len(self.slots) > size:
            await self._stop_warming()
        self._free.sort(key=lambda slot: slot.machine is not None)  # those without a Machine go first
        surplus = [self._free.pop(0) for _ in range(min(len(self._free), len(self.slots) - size))]
        self._hand_out()
        await self._close(surplus)

    async def close(self) -> None:
        """Stop all idle Machines; the caller has seen to it that none is busy."""
        await self.resize(0)

    async def _take(self, version: Version) -> Slot:
        turn: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self._waiting.append((version, turn))
        self._hand_out()
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the slot and the cancel came at the same time
                await self._give_back(turn.result())
            raise

    def _hand_out(self) -> None:
        """Give slots to those that wait, the first first: a slot is taken before anybody else can ask for it."""
        while self._waiting:
            version, turn = self._waiting[0]
            if turn.done():  # canceled while it waited
                self._waiting.popleft()
                continue
            slot = self._pick(version)
            if slot is None:
                return
            self._waiting.popleft()
            self._busy.add(slot)
            turn.set_result(slot)
            if slot.warm_for(version) and not slot.ready_for(version):
                self._warm_another(version)

    def _warm_another(self, version: Version) -> None:
        """Start a Machine ahead, if there may be one more; one at a time."""
        if self._warming or self._waiting:
            return
        slot = self._empty()
        if slot is not None:
            warming = asyncio.create_task(self._warm(slot, version), name=f"warm {self._project}")
            self._warming[slot] = warming
            warming.add_done_callback(partial(self._never_began, slot))

    def _never_began(self, slot: Slot, warming: asyncio.Task[None]) -> None:
        """A task that is canceled before its first step has not given back its slot, which has no Machine then."""
        if self._warming.get(slot) is warming:
            del self._warming[slot]
            self._put_back(slot)

    async def _stop_warming(self) -> None:
        warming = set(self._warming.values())
        for task in warming:
            task.cancel()
        if warming:
            await uncancellable(asyncio.wait(warming))

    async def _warm(self, slot: Slot, version: Version) -> None:
        try:
            await slot.warm(version)
        except MachineError as error:  # whoever needs it will try again, and hear why
            log.warning("Machines of %s: none could be started ahead: %s", self._project, error.message)
        finally:
            del self._warming[slot]
            await self._give_back(slot)

    def _empty(self) -> Slot | None:
        """A slot without a Machine, taken from the free ones or new."""
        slot = next((slot for slot in self._free if slot.machine is None), None)
        if slot is not None:
            self._free.remove(slot)
        elif len(self.slots) + len(self._closing) < self._size:
            self._made += 1
            slot = Slot(f"{self._project}-{self._made}", self._launch, self._limits)
        return slot

    def _pick(self, version: Version) -> Slot | None:
        """The best slot for this version that may be used now, taken from the free ones or new."""
        # The one used last before others: those that are not needed get idle and stop. But not one that still cleans up
        # while another is ready: the Attempt after a check would wait for what the check leaves.
        slot = next((slot for slot in reversed(self._free) if slot.ready_for(version)), None)
        slot = slot or next((slot for slot in reversed(self._free) if slot.warm_for(version)), None)
        # An empty one, or a new one, before one whose warm Machine another version could use.
        if slot is None and (empty := self._empty()) is not None:
            return empty
        if slot is None and self._free:
            slot = self._free[0]
        if slot is not None:
            self._free.remove(slot)
        return slot

    async def _give_back(self, slot: Slot) -> None:
        self._busy.discard(slot)
        if not self._put_back(slot):
            await self._close([slot])

    def _put_back(self, slot: Slot) -> bool:
        """It may be taken again, and is if somebody waits. False: there are enough without it."""
        if len(self.slots) >= self._size:
            return False
        self._free.append(slot)
        self._hand_out()
        return True

    async def _close(self, slots: Sequence[Slot]) -> None:
        """Stop their Machines. Until that is done their places are not free."""
        if slots:
            self._closing.update(slots)
            await uncancellable(self._stop(slots))

    async def _stop(self, slots: Sequence[Slot]) -> None:
        try:
            for failed in await asyncio.gather(*[slot.close() for slot in slots], return_exceptions=True):
                if failed is not None:
                    log.error("Machines of %s: one could not be stopped", self._project, exc_info=failed)
        finally:
            self._closing.difference_update(slots)
            self._hand_out()
