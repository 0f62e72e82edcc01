"""The Machines of one project on this worker: one slot for each Machine that it may have, taken in order of arrival.

A Machine is started when an Attempt needs it. One more is started ahead when an Attempt has to wait until a warm one
has cleaned up after its last Attempt: from then on, the Attempt after a check, or of a client that starts Run after
Run, finds a Machine ready.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from functools import partial

from callboard.machines.attempt_spec import AttemptReport, Version
from callboard.machines.lease import LeaseEndedError
from callboard.machines.machine_attempt import MachineAttempt, RoomTimeoutError
from callboard.machines.machine_start import LaunchOptions
from callboard.machines.slot import RecycleLimits, Slot
from callboard.machines.uncancellable import uncancellable
from callboard.schemas.errors import MachineError

log = logging.getLogger(__name__)


class Pool:
    """The pool of a project's Machines. There are never more than `size`, even while that changes."""

    def __init__(self, project: str, size: int, launch: LaunchOptions, limits: RecycleLimits) -> None:
        self._project = project
        self.size = size
        """How many Machines there may be."""
        self._launch = launch
        self._limits = limits
        self._free: list[Slot] = []
        """Free slots, the least recently used first."""
        self._busy: set[Slot] = set()
        self._prewarming: dict[Slot, asyncio.Task[None]] = {}
        """Slots whose Machine is being started ahead, with the task that does it. No Attempt holds them."""
        self._closing: set[Slot] = set()
        """Slots that are being closed. They cannot be taken any more, but their Machines still count."""
        self._waiting: deque[tuple[Version, asyncio.Future[Slot]]] = deque()
        self._made = 0

    @property
    def busy(self) -> int:
        """Number of Attempts that hold a slot."""
        return len(self._busy)

    @property
    def warm(self) -> int:
        """Number of Machines that are up and have no Attempt."""
        return sum(slot.machine is not None for slot in self._free)

    @property
    def memory(self) -> int:
        """Bytes that the Machines had allocated a moment ago."""
        slots = (*self.slots, *self._closing)
        return sum(slot.machine.memory for slot in slots if slot.machine is not None)

    @property
    def bound(self) -> int:
        """Most Machines that the pool has until its size is changed: more than that if some are still busy."""
        return max(self.size, len(self._busy) + len(self._prewarming) + len(self._closing))

    @property
    def slots(self) -> list[Slot]:
        """All slots that can be used; some may have no Machine."""
        return [*self._free, *self._busy, *self._prewarming]

    async def run_attempt(self, version: Version, attempt: MachineAttempt) -> AttemptReport:
        """Run one Attempt as soon as a slot is free.

        Raises:
            MachineError: No Machine could be started.
            LeaseEndedError: The worker's lease ended before the Attempt did.
            RoomTimeoutError: No Machine was free for as long as the Attempt may wait.
        """
        slot = await self._take(version, attempt)
        try:
            return await slot.run_attempt(version, attempt)
        finally:
            await self._give_back(slot)

    def change_ahead(self, version: Version) -> None:
        """Have the idle Machine that was used last change to this version, unless one serves it, or Attempts wait.

        One is enough for an author who tries an edit. More would start as many processes at the same moment.
        """
        if not self._waiting and not any(slot.warm_for(version) for slot in self.slots):
            slot = next((slot for slot in reversed(self._free) if slot.can_serve(version)), None)
            if slot is not None:
                slot.change_ahead(version)

    async def resize(self, size: int) -> None:
        """Change how many Machines there may be. Busy ones finish; surplus idle ones are stopped."""
        self.size = size
        if len(self.slots) > size:
            await self._stop_prewarming()
        self._free.sort(key=lambda slot: slot.machine is not None)  # those without a Machine go first
        surplus = [self._free.pop(0) for _ in range(min(len(self._free), len(self.slots) - size))]
        self._dispatch_waiters()
        await self._close(surplus)

    async def _take(self, version: Version, attempt: MachineAttempt) -> Slot:
        turn: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self._waiting.append((version, turn))
        self._dispatch_waiters()
        if turn.done():
            return turn.result()
        try:
            async with attempt.waiting():
                return await turn
        except (asyncio.CancelledError, RoomTimeoutError):
            if not turn.cancelled():  # the slot and the cancel came at the same time
                await self._give_back(turn.result())
            raise

    def _dispatch_waiters(self) -> None:
        """Give free slots to waiting Attempts, in order of arrival.

        A slot is marked as taken here, before anybody else can ask for it.
        """
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
                self._prewarm_one(version)

    def _prewarm_one(self, version: Version) -> None:
        """Start a Machine ahead if there may be one more, one at a time and only if no Attempt waits."""
        if self._prewarming or self._waiting or not self._launch.capacity.has_room:
            return
        slot = self._empty()
        if slot is not None:
            warming = asyncio.create_task(self._prewarm(slot, version), name=f"warm {self._project}")
            self._prewarming[slot] = warming
            warming.add_done_callback(partial(self._on_prewarm_cancelled, slot))

    def _on_prewarm_cancelled(self, slot: Slot, warming: asyncio.Task[None]) -> None:
        """Put back the slot of a task that was canceled before its first step; the slot has no Machine then."""
        if self._prewarming.get(slot) is warming:
            del self._prewarming[slot]
            self._put_back(slot)

    async def _stop_prewarming(self) -> None:
        warming = set(self._prewarming.values())
        for task in warming:
            task.cancel()
        if warming:
            await uncancellable(asyncio.wait(warming))

    async def _prewarm(self, slot: Slot, version: Version) -> None:
        try:
            await slot.warm(version)
        except (MachineError, LeaseEndedError) as error:  # an Attempt that needs a Machine tries again, and hears why
            log.warning("Machines of %s: none could be started ahead: %s", self._project, error)
        finally:
            del self._prewarming[slot]
            await self._give_back(slot)

    def _empty(self) -> Slot | None:
        """Return a slot without a Machine, taken from the free ones or new; None if there may be no more."""
        slot = next((slot for slot in self._free if slot.machine is None), None)
        if slot is not None:
            self._free.remove(slot)
        elif len(self.slots) + len(self._closing) < self.size:
            self._made += 1
            slot = Slot(f"{self._project}-{self._made}", self._launch, self._limits)
        return slot

    def _pick(self, version: Version) -> Slot | None:
        """Return the best slot for this version that may be used now, free or new; None if there is none."""
        # Prefer the slot used last, so that Machines that are not needed become idle and stop. But prefer one that is
        # ready to one that still cleans up: else the Attempt after a check would wait for the check's clean-up.
        slot = next((slot for slot in reversed(self._free) if slot.ready_for(version)), None)
        slot = slot or next((slot for slot in reversed(self._free) if slot.warm_for(version)), None)
        # To change a Machine's version is quicker than to start one. One that cannot change may still serve its own.
        slot = slot or next((slot for slot in reversed(self._free) if slot.can_serve(version)), None)
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
        """Make the slot free, and give it to a waiting Attempt. Return False if there are enough slots without it."""
        if len(self.slots) >= self.size:
            return False
        self._free.append(slot)
        self._dispatch_waiters()
        return True

    async def _close(self, slots: Sequence[Slot]) -> None:
        """Stop the Machines of these slots. Until that is done, they count as Machines of the pool."""
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
            self._dispatch_waiters()


class MachinePools(dict[str, Pool]):
    """The pools of a worker, by project: one for each that it serves."""

    def __init__(self, launch: LaunchOptions, limits: RecycleLimits) -> None:
        super().__init__()
        self._launch = launch
        self._limits = limits

    async def resize(self, project: str, machines: int) -> None:
        """Change how many Machines the project may have; its pool is created the first time."""
        if project in self:
            await self[project].resize(machines)
        elif machines:
            self[project] = Pool(project, machines, self._launch, self._limits)

    async def close(self) -> None:
        """Stop all idle Machines; the caller has seen to it that none is busy."""
        await asyncio.gather(*(pool.resize(0) for pool in self.values()))
        if self._launch.network is not None:
            await self._launch.network.close()
