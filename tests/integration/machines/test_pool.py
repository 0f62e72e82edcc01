"""Which Machine takes the next Attempt, and how many there are."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from machines import keeper
from machines.attempt_spec import AttemptReport, AttemptSpec, Version
from machines.capacity import RoomTimeoutError, RoomWait
from machines.machine import AttemptStart
from machines.machine_start import LaunchOptions, RecycleCause
from machines.pool import Pool
from machines.runner import process_tree
from machines.slot import RecycleLimits
from tests.support.machines import PATIENCE, Lab, attempt_spec, unnoticed, value, zygote_of
from tests.support.polling import until

PROJECT = {
    "api/fine.py": "async def automation(page): return 'fine'",
    "api/takes_long_to_clean_up.py": """
        import asyncio

        async def lasts():
            try:
                await asyncio.sleep(600)
            finally:
                await asyncio.sleep(0.3)

        async def automation(page):
            page.task = asyncio.create_task(lasts())
            await asyncio.sleep(0)
            return "fine"
    """,
    "api/version.py": """
        from pathlib import Path

        async def automation(page):
            return Path("version.txt").read_text()
    """,
    "api/waits_for.py": """
        import asyncio
        from pathlib import Path

        async def automation(page, params):
            while not Path(params["file"]).exists():
                await asyncio.sleep(0.01)
            return params["file"]
    """,
}


def keepers(lab: Lab) -> int:
    """How many Machines of this lab there are below this process; other tests' stacks have their own."""
    count = 0
    for pid in keeper.descendants(os.getpid()):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_text()
            count += "machines/keeper.py" in command and str(lab.scratch) in command
        except OSError:
            continue
    return count


async def test_grows_with_work_and_never_beyond_the_pool_s_size(lab: Lab, tmp_path: Path) -> None:
    pool, version = lab.pool(2), lab.version(PROJECT)
    assert keepers(lab) == 0
    begun: list[str] = []
    counts: set[int] = set()

    def begin(at: AttemptStart) -> None:
        begun.append(at.machine)
        counts.add(keepers(lab))

    attempts = [
        asyncio.create_task(
            pool.run_attempt(version, attempt_spec("waits_for", {"file": str(tmp_path / f"go-{n}")}), begin)
        )
        for n in range(5)
    ]
    for n, attempt in enumerate(attempts):
        await until(lambda n=n: len(begun) == min(n + 2, 5))
        assert pool.busy == min(2, 5 - n)
        (tmp_path / f"go-{n}").touch()
        assert value(await attempt) == str(tmp_path / f"go-{n}"), "they begin in the order in which they came"
    assert counts <= {1, 2}
    assert set(begun) == {"lab-1-1", "lab-2-1"}
    assert keepers(lab) == 2


async def test_an_attempt_that_may_not_wait_longer_gives_its_turn_to_the_next(lab: Lab, tmp_path: Path) -> None:
    pool, version = lab.pool(1), lab.version(PROJECT)
    asked = attempt_spec("waits_for", {"file": str(tmp_path / "go")})
    first = asyncio.create_task(pool.run_attempt(version, asked, unnoticed))
    await until(lambda: pool.busy == 1)
    impatient = replace(attempt_spec("fine"), room_wait=RoomWait(datetime.now(UTC) + timedelta(seconds=0.1)))
    second = asyncio.create_task(pool.run_attempt(version, impatient, unnoticed))
    patient = attempt_spec("fine")
    third = asyncio.create_task(pool.run_attempt(version, patient, unnoticed))
    with pytest.raises(RoomTimeoutError):
        await second
    assert patient.room_wait.waits
    (tmp_path / "go").touch()
    assert value(await first) == str(tmp_path / "go")
    assert value(await third) == "fine"


async def test_an_idle_machine_stops_and_new_work_starts_another(lab: Lab) -> None:
    pool, version = lab.pool(idle=0.2), lab.version(PROJECT)
    assert value(await pool.run_attempt(version, attempt_spec("fine"), unnoticed)) == "fine"
    await until(lambda: pool.slots[0].machine is None)
    await until(lambda: keepers(lab) == 0)
    lab.assert_clean()
    report = await pool.run_attempt(version, attempt_spec("fine"), unnoticed)
    assert (value(report), report.machine) == ("fine", "lab-1-2")


async def test_a_machine_is_recycled_after_its_number_of_attempts(lab: Lab) -> None:
    pool, version = lab.pool(attempts=2), lab.version(PROJECT)
    machines = [(await pool.run_attempt(version, attempt_spec("fine"), unnoticed)).machine for _ in range(4)]
    assert machines == ["lab-1-1", "lab-1-1", "lab-1-2", "lab-1-2"]
    await until(lambda: keepers(lab) == 0)


async def test_a_machine_is_recycled_at_its_age(lab: Lab) -> None:
    pool, version = lab.pool(age=0.001), lab.version(PROJECT)
    machines = [(await pool.run_attempt(version, attempt_spec("fine"), unnoticed)).machine for _ in range(2)]
    assert machines == ["lab-1-1", "lab-1-2"]


async def test_a_machine_changes_to_another_version_that_wants_the_same_browser(lab: Lab) -> None:
    pool = lab.pool()
    old = lab.version({**PROJECT, "version.txt": "old"}, version="1")
    new = lab.version({**PROJECT, "version.txt": "new"}, version="2")
    hook = "async def setup_context(*, api_name, api_parameters, cdp_url): pass"
    hooked = lab.version({**PROJECT, "version.txt": "hook", "hooks/setup_context.py": hook}, version="3")
    small = lab.version({**PROJECT, "version.txt": "small"}, version="4", width=300)
    versions = (old, new, new, old, hooked, hooked, small)
    reports = [await pool.run_attempt(version, attempt_spec("version"), unnoticed) for version in versions]
    assert [value(report) for report in reports] == ["old", "new", "new", "old", "hook", "hook", "small"]
    assert [report.machine for report in reports] == [*["lab-1-1"] * 4, "lab-1-2", "lab-1-2", "lab-1-3"]
    assert keepers(lab) == 1


async def test_of_the_version_before_nothing_is_left_but_driver_and_browser(lab: Lab) -> None:
    pool, counts, zygotes = lab.pool(), list[int](), set[int]()
    for number in range(3):
        version = lab.version({**PROJECT, "version.txt": str(number)}, version=str(number))
        assert value(await pool.run_attempt(version, attempt_spec("version"), unnoticed)) == str(number)
        machine = pool.slots[0].machine
        assert machine is not None
        await machine.wait_clean()
        commands = [process_tree.read(f"/proc/{pid}/cmdline") for pid in keeper.descendants(machine.keeper_pid)]
        counts.append(sum(b"\0zygote\0" in command for command in commands))
        zygotes.add(zygote_of(machine))
    assert counts == [counts[0]] * 3, "the zygote with its box, and the process that waits for its Attempt"
    assert len(zygotes) == 3


async def test_the_size_may_change_while_machines_are_busy(lab: Lab, tmp_path: Path) -> None:
    pool, version = lab.pool(2), lab.version(PROJECT)
    begun: list[str] = []

    def attempt(n: int) -> asyncio.Task[AttemptReport]:
        given = {"file": str(tmp_path / f"go-{n}")}
        return asyncio.create_task(
            pool.run_attempt(version, attempt_spec("waits_for", given), lambda at: begun.append(at.machine))
        )

    attempts = [attempt(n) for n in range(5)]
    await until(lambda: len(begun) == 2)
    await pool.resize(1)
    assert keepers(lab) == 2, "busy ones finish"
    (tmp_path / "go-0").touch()
    await attempts[0]
    assert keepers(lab) == 1, "and are stopped before their Attempt is given back"
    (tmp_path / "go-1").touch()
    await attempts[1]
    await until(lambda: len(begun) == 3)
    assert keepers(lab) == 1
    await pool.resize(3)
    await until(lambda: len(begun) == 5)
    assert keepers(lab) == 3
    for n in range(5):
        (tmp_path / f"go-{n}").touch()
    await asyncio.gather(*attempts)
    await pool.resize(1)
    assert keepers(lab) == 1
    assert len(pool.slots) == 1


async def test_a_wait_for_the_clean_up_starts_one_more_machine(lab: Lab) -> None:
    pool, version = lab.pool(2), lab.version(PROJECT)
    apis = ("takes_long_to_clean_up", "fine")
    machines = [(await pool.run_attempt(version, attempt_spec(api), unnoticed)).machine for api in apis]
    assert machines == ["lab-1-1", "lab-1-1"]
    await until(lambda: all(slot.ready_for(version) for slot in pool.slots) and len(pool.slots) == 2)
    assert (pool.busy, keepers(lab)) == (0, 2)
    reports = await asyncio.gather(*(pool.run_attempt(version, attempt_spec("fine"), unnoticed) for _ in range(2)))
    assert {report.machine for report in reports} == {"lab-1-1", "lab-2-1"}
    assert keepers(lab) == 2


async def test_one_that_is_being_started_ahead_ends_with_the_pool(lab: Lab) -> None:
    pool, version = lab.pool(2), lab.version(PROJECT)
    for api in ("takes_long_to_clean_up", "fine"):
        await pool.run_attempt(version, attempt_spec(api), unnoticed)
    assert len(pool.slots) == 2
    await until(lambda: keepers(lab) == 2)
    await pool.resize(0)
    lab.assert_clean()


async def test_one_that_cannot_be_started_ahead_fails_nothing(lab: Lab, tmp_path: Path) -> None:
    pool, version = lab.pool(2), lab.version(PROJECT)
    with pytest.MonkeyPatch.context() as patch:
        await pool.run_attempt(version, attempt_spec("takes_long_to_clean_up"), unnoticed)
        patch.setattr(pool, "_launch", LaunchOptions(tmp_path / "scratch", tmp_path / "no-browser"))
        report = await pool.run_attempt(version, attempt_spec("fine"), unnoticed)
        assert (value(report), report.machine) == ("fine", "lab-1-1")
        await until(lambda: not pool._prewarming)
    assert [slot.machine is None for slot in pool.slots].count(True) == 1
    assert value(await pool.run_attempt(version, attempt_spec("fine"), unnoticed)) == "fine"


@dataclass
class Imagined:
    """A Machine without processes, for thousands of schedules. It knows how many of it there are."""

    name: str
    version: Version
    alive: ClassVar[set[str]] = set()
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

    async def run_attempt(self, spec: AttemptSpec, on_begun: Callable[[AttemptStart], None]) -> Any:
        assert self.name in self.alive
        self.attempts += 1
        on_begun(cast("AttemptStart", spec))
        try:
            await self.pause()
        except asyncio.CancelledError:
            await self.close()
            raise
        if self.chance.random() < 0.2:
            await self.close()
        self.clean.clear()
        return SimpleNamespace(error=None, spec=spec)

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


async def test_why_a_machine_is_gone_is_told() -> None:
    Imagined.chance = random.Random(1)
    nowhere, seen = Path("/nowhere"), Seen()
    one, other = (Version("imagined", "1", nowhere, 0, width, 0) for width in range(2))
    launch = LaunchOptions(nowhere, nowhere, on_started=seen.started, on_recycled=seen.recycled)
    pool = Pool("imagined", 1, launch, RecycleLimits(timedelta(1), 2, timedelta(1)))

    async def attempt(version: Version, **changes: Any) -> None:
        """Make an Attempt on the Machine after it was changed so, and another one if it was closed by that."""
        for name, changed in changes.items():
            setattr(pool.slots[0].machine, name, changed)
        await pool.run_attempt(version, attempt_spec("imagined"), lambda _: None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("machines.slot.start_machine", Imagined.start)
        patch.setattr(Imagined.chance, "random", lambda: 1.0)  # none crashes
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
        patch.setattr(Imagined.chance, "random", lambda: 0.0)  # each crashes
        await attempt(one)
        await until(lambda: seen.causes[5:] == [RecycleCause.STOPPED])
        patch.setattr(Imagined.chance, "random", lambda: 1.0)
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
    nowhere = Path("/nowhere")
    versions = [Version("imagined", str(n), nowhere, 0, 0, 0) for n in range(2)]
    size = largest = chance.randint(1, 3)
    seen = Seen()
    launch = LaunchOptions(nowhere, nowhere, on_started=seen.started, on_recycled=seen.recycled)
    pool = Pool("imagined", size, launch, RecycleLimits(timedelta(1), 3, timedelta(1)))
    begun: list[Any] = []
    attempts: list[tuple[AttemptSpec, asyncio.Task[Any]]] = []
    changes: list[asyncio.Task[None]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("machines.slot.start_machine", Imagined.start)
        for _ in range(chance.randint(1, 30)):
            match chance.choice(["come", "come", "come", "cancel", "resize", "wait"]):
                case "come":
                    made = attempt_spec("imagined")
                    attempts.append(
                        (made, asyncio.create_task(pool.run_attempt(chance.choice(versions), made, begun.append)))
                    )
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
        assert not pool._waiting
        assert len(pool.slots) <= size
        for made, task in attempts:
            assert task.cancelled() or (task.result().spec is made and made in begun)
        before = len(begun)
        last = [
            asyncio.create_task(pool.run_attempt(versions[0], attempt_spec("imagined"), begun.append))
            for _ in range(2 * size)
        ]
        _, lost = await asyncio.wait(last, timeout=PATIENCE)
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
    nowhere = Path("/nowhere")
    version = Version("imagined", "1", nowhere, 0, 0, 0)
    pool = Pool("imagined", 1, LaunchOptions(nowhere, nowhere), RecycleLimits(timedelta(1), 100, timedelta(1)))
    begun: list[str] = []

    async def attempt(name: str) -> None:
        await pool.run_attempt(version, attempt_spec(name), lambda at: begun.append(cast("AttemptSpec", at).api))
        if name.startswith("old"):
            tasks.append(asyncio.create_task(attempt(f"new-{name}")))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("machines.slot.start_machine", Imagined.start)
        tasks = [asyncio.create_task(attempt(f"old-{n}")) for n in range(4)]
        while not all(task.done() for task in tasks):
            await asyncio.wait(list(tasks))
        await pool.resize(0)
    assert begun == [*[f"old-{n}" for n in range(4)], *[f"new-old-{n}" for n in range(4)]]


async def test_prefers_a_ready_machine_to_one_that_still_cleans_up() -> None:
    Imagined.chance = random.Random(1)
    nowhere = Path("/nowhere")
    version = Version("imagined", "1", nowhere, 0, 0, 0)
    pool = Pool("imagined", 2, LaunchOptions(nowhere, nowhere), RecycleLimits(timedelta(1), 100, timedelta(1)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("machines.slot.start_machine", Imagined.start)
        await asyncio.gather(*(pool.run_attempt(version, attempt_spec(f"{n}"), lambda _: None) for n in range(2)))
        ready, last = (cast("Imagined", slot.machine) for slot in pool.slots)
        before = ready.attempts, last.attempts
        ready.clean.set()
        last.clean.clear()
        await pool.run_attempt(version, attempt_spec("next"), lambda _: None)
        assert (ready.attempts, last.attempts) == (before[0] + 1, before[1])
        await pool.resize(0)
