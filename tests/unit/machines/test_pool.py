"""Which Machine takes the next Attempt, and how many there are, by thousands of schedules without processes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from callboard.machines.attempt_spec import Version
from callboard.machines.machine_attempt import MachineAttempt
from callboard.machines.machine_start import LaunchOptions, RecycleCause
from callboard.machines.pool import Pool
from callboard.machines.slot import RecycleLimits
from tests.support.machines import PATIENCE, attempt_of
from tests.support.polling import until


@dataclass
class Imagined:
    """A Machine without processes, for thousands of schedules. It knows how many of it there are."""

    name: str
    version: Version
    alive: ClassVar[set[str]] = set()
    begun: ClassVar[list[MachineAttempt]] = []
    """The Attempts that have begun, in their order."""
    most: ClassVar[int] = 0
    chance: ClassVar[random.Random]
    attempts: int = 0
    retire_reason: str | None = None
    born: float = field(default_factory=time.monotonic)
    clean: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    async def start(cls, name: str, version: Version, _launch: LaunchOptions) -> Imagined:
        assert name not in cls.alive
        cls.alive.add(name)
        cls.most = max(cls.most, len(cls.alive))
        try:
            await cls.pause()
        except asyncio.CancelledError:
            try:
                await cls.pause(3)
            finally:  # also when a second cancel comes
                cls.alive.discard(name)
            raise
        machine = cls(name, version)
        machine.clean.set()
        return machine

    @classmethod
    async def pause(cls, longest: int = 5) -> None:
        for _ in range(cls.chance.randint(0, longest)):
            await asyncio.sleep(0)

    memory: int = 1_000_000

    async def wait_clean(self, **_wanted: bool) -> None:
        await self.pause()
        self.clean.set()

    async def change_version(self, version: Version, _setup: Any) -> None:
        self.version = version
        await self.pause()

    async def wait_idle(self, _within: timedelta) -> None:
        await asyncio.Event().wait()

    async def run_attempt(self, attempt: MachineAttempt) -> Any:
        assert self.name in self.alive
        self.attempts += 1
        self.begun.append(attempt)
        try:
            await self.pause()
        except asyncio.CancelledError:
            await self.close()
            raise
        if self.chance.random() < 0.2:
            await self.close()
        self.clean.clear()
        return SimpleNamespace(error=None, attempt=attempt)

    async def close(self) -> None:
        self.retire_reason = "closed"
        await self.pause()
        self.alive.discard(self.name)


class Seen:
    """Hears of the Machines of a pool."""

    def __init__(self) -> None:
        self.started_count = 0
        self.causes: list[RecycleCause] = []

    def started(self, project: str, /) -> None:
        assert project == "imagined"
        self.started_count += 1

    def recycled(self, project: str, cause: RecycleCause, /) -> None:
        assert project == "imagined"
        self.causes.append(cause)


NOWHERE = Path("/nowhere")


def version(number: int = 1, width: int = 0) -> Version:
    return Version("imagined", str(number), NOWHERE, 0, width, 0)


def pool_of(size: int, *, attempts: int = 100, seen: Seen | None = None) -> Pool:
    hears = seen or Seen()
    launch = LaunchOptions(NOWHERE, NOWHERE, on_started=hears.started, on_recycled=hears.recycled)
    return Pool("imagined", size, launch, RecycleLimits(timedelta(1), attempts, timedelta(1)))


async def _no_setup(*_about: Any) -> dict[str, Any]:
    await Imagined.pause()
    return {}


@pytest.fixture(autouse=True, scope="module")
def imagined() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("callboard.machines.slot.start_machine", Imagined.start)
        patch.setattr("callboard.machines.slot.machine_setup", _no_setup)
        yield


async def test_why_a_machine_is_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    Imagined.chance = random.Random(1)
    monkeypatch.setattr(Imagined.chance, "random", lambda: 1.0)  # none crashes
    seen = Seen()
    one, other = version(), version(width=1)
    pool = pool_of(1, attempts=2, seen=seen)

    async def attempt(version: Version, **changes: Any) -> None:
        """Make an Attempt on the Machine after it was changed so, and another one if it was closed by that."""
        for name, changed in changes.items():
            setattr(pool.slots[0].machine, name, changed)
        await pool.run_attempt(version, attempt_of("imagined"))

    await attempt(one)
    await attempt(other)
    assert seen.causes == [RecycleCause.VERSION]
    await attempt(other)
    await until(lambda: seen.causes[1:] == [RecycleCause.ATTEMPTS])
    await attempt(one)
    for number, (changes, cause) in enumerate(
        [
            ({"born": time.monotonic() - 86_400}, RecycleCause.AGE),
            ({"retire_reason": "its process ended"}, RecycleCause.LOST),
            ({"retire_reason": "the page could not be closed"}, RecycleCause.UNFIT),
        ]
    ):
        await attempt(one, **changes)
        assert seen.causes[2 + number :] == [cause]
    monkeypatch.setattr(Imagined.chance, "random", lambda: 0.0)  # each crashes
    await attempt(one)
    await until(lambda: seen.causes[5:] == [RecycleCause.STOPPED])
    monkeypatch.setattr(Imagined.chance, "random", lambda: 1.0)
    await attempt(one)
    await pool.resize(0)
    assert seen.causes[6:] == [RecycleCause.SURPLUS]
    assert seen.started_count == len(seen.causes)


@settings(max_examples=150, deadline=None)
@example(seed=98)  # one that is to be started ahead is canceled before its first step
@given(seed=st.integers(0, 2**32))
async def test_no_schedule_exceeds_the_size_or_loses_a_slot(seed: int) -> None:
    """Attempts that come, end, crash and are canceled at any moment, while the size changes."""
    chance = Imagined.chance = random.Random(seed)
    Imagined.alive.clear()
    Imagined.most = 0
    versions = [version(n) for n in range(2)]
    size = largest = chance.randint(1, 3)
    seen = Seen()
    pool = pool_of(size, attempts=3, seen=seen)
    begun = Imagined.begun = []
    attempts: list[tuple[MachineAttempt, asyncio.Task[Any]]] = []
    changes: list[asyncio.Task[None]] = []

    def come(version: Version) -> asyncio.Task[Any]:
        attempts.append(
            (
                made := attempt_of("imagined"),
                task := asyncio.create_task(pool.run_attempt(version, made)),
            )
        )
        return task

    for _ in range(chance.randint(1, 30)):
        match chance.choice(["come", "come", "come", "cancel", "resize", "wait", "deploy"]):
            case "come":
                come(chance.choice(versions))
            case "deploy":
                pool.change_ahead(chance.choice(versions))
            case "cancel" if attempts:
                chance.choice(attempts)[1].cancel()
            case "resize":
                size = chance.randint(1, 3)
                largest = max(largest, size)
                changes.append(asyncio.create_task(pool.resize(size)))
            case _:
                await Imagined.pause(10)
        assert len(Imagined.alive) <= largest
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*[task for _, task in attempts], *changes, return_exceptions=True)
    assert pool.busy == 0
    assert len(pool.slots) <= size
    for made, task in attempts:
        assert task.cancelled() or (task.result().attempt is made and made in begun)
    before = len(begun)
    _, lost = await asyncio.wait([come(versions[0]) for _ in range(2 * size)], timeout=PATIENCE)
    assert lost == set()
    assert len(begun) - before == 2 * size
    assert len(pool.slots) == size
    assert pool.memory == sum(slot.machine is not None for slot in pool.slots) * Imagined.memory
    await pool.resize(0)
    assert Imagined.alive == set()
    assert Imagined.most <= largest
    assert pool.memory == 0
    assert seen.started_count == len(seen.causes), "each Machine that is started is recycled"


async def test_slots_are_given_in_the_order_of_arrival_whoever_comes_in_between() -> None:
    """A newcomer at the very moment when a slot is given back does not go before those that wait."""
    Imagined.chance = random.Random(1)
    pool, begun = pool_of(1), list[MachineAttempt]()
    Imagined.begun = begun

    async def attempt(name: str) -> None:
        await pool.run_attempt(version(), attempt_of(name))
        if name.startswith("old"):
            tasks.append(asyncio.create_task(attempt(f"new-{name}")))

    tasks = [asyncio.create_task(attempt(f"old-{n}")) for n in range(4)]
    while not all(task.done() for task in tasks):
        await asyncio.wait(list(tasks))
    await pool.resize(0)
    assert [one.spec.api for one in begun] == [*[f"old-{n}" for n in range(4)], *[f"new-old-{n}" for n in range(4)]]


async def test_prefers_a_ready_machine_to_one_that_still_cleans_up() -> None:
    Imagined.chance = random.Random(1)
    pool = pool_of(2)
    await asyncio.gather(*(pool.run_attempt(version(), attempt_of("any")) for _ in range(2)))
    ready, last = (cast("Imagined", slot.machine) for slot in pool.slots)
    before = ready.attempts, last.attempts
    ready.clean.set()
    last.clean.clear()
    await pool.run_attempt(version(), attempt_of("next"))
    assert (ready.attempts, last.attempts) == (before[0] + 1, before[1])
    await pool.resize(0)


async def test_one_idle_machine_changes_to_a_version_before_an_attempt_needs_it() -> None:
    Imagined.chance = random.Random(1)
    pool = pool_of(2)
    await asyncio.gather(*(pool.run_attempt(version(), attempt_of("any")) for _ in range(2)))
    pool.change_ahead(version(2))
    pool.change_ahead(version(2, width=1))  # no Machine of theirs can serve this one
    machines = [cast("Imagined", slot.machine) for slot in pool.slots]
    await until(lambda: [machine.version for machine in machines] == [version(), version(2)])
    pool.change_ahead(version(2))  # there is one
    await pool.run_attempt(version(2), attempt_of("next"))
    assert [machine.attempts for machine in machines] == [1, 2]
    assert machines[0].version == version()
    await pool.resize(0)
