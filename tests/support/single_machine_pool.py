"""A pool of one Machine and the Attempts that it is given, and user code that does not end by itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Self

from callboard.machines import keeper
from callboard.machines.attempt_spec import AttemptReport
from callboard.machines.box import has_inner_processes
from callboard.machines.machine import Machine
from callboard.machines.machine_attempt import MachineAttempt
from tests.support.automations import automations
from tests.support.machines import Lab, attempt_of, value, zygote_of
from tests.support.polling import until
from tests.support.typescript import handlers

ENDLESS = automations(
    awaits='await page.wait_for_event("close", timeout=0)',
    spins="""
        while True:
            pass
    """,
    blocks="import time; time.sleep(600)",
)
ENDLESS_IN_TYPESCRIPT = handlers(
    awaits="await page.waitForEvent('close', { timeout: 0 })",
    spins="while (true) {}",
    blocks="require('child_process').execSync('sleep 600')",
)


class One:
    """One Machine at a time, of a project whose API `fine` returns its own name.

    The tests of a module share it, each in a `turn` of its own: to start a Machine costs more than most tests do
    with it, and that one which shows that all is well after a test is the one that the next test ends.
    """

    def __init__(self, lab: Lab, files: Mapping[str, str], **fields: Any) -> None:
        self.lab = lab
        self.version = lab.version(files, **fields)
        self.pool = lab.pool()
        self._attempts: dict[asyncio.Task[AttemptReport], MachineAttempt] = {}
        """The Attempts of this turn, in the order in which they were set on their way."""
        self._first: str | None = None
        """Name of the Machine that was there when the turn began, if any."""

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncGenerator[Self]:
        """One test. It begins with the Machine that the last one left, or none, and leaves no more than that."""
        self._first = None if self.warm is None else self.warm.name
        self._attempts.clear()
        try:
            yield self
        finally:
            on_their_way = [attempt for attempt in self._attempts if not attempt.done()]
            for attempt in on_their_way:  # of a test that has failed: the next one is to have a chance
                attempt.cancel()
            await asyncio.gather(*on_their_way, return_exceptions=True)
        assert on_their_way == []
        assert self.pool.busy == 0
        if self.pool.slots:
            await self.lab.settled(self.pool)
        self.lab.assert_clean(self.warm)
        assert self.warm is None or self.warm.retire_reason is None

    @property
    def warm(self) -> Machine | None:
        """The Machine that is there, if any."""
        return self.pool.slots[0].machine if self.pool.slots else None

    @property
    def machine(self) -> Machine:
        """The Machine that is there."""
        assert self.warm is not None
        return self.warm

    async def cool(self) -> None:
        """Stop the Machine, for a test that is about its start."""
        for slot in self.pool.slots:
            await slot.close()
        self.lab.assert_clean()
        self._first = None
        self._attempts.clear()

    def start(self, api: str, parameters: Any = None, **fields: Any) -> asyncio.Task[AttemptReport]:
        """Set an Attempt on its way. The fields are those of `attempt_of`."""
        attempt = attempt_of(api, parameters, **fields)
        task = asyncio.create_task(self.pool.run_attempt(self.version, attempt))
        self._attempts[task] = attempt
        return task

    async def begun(self) -> None:
        """Wait until the Attempt that was started last is on the Machine."""
        await until(lambda: list(self._attempts.values())[-1].start, every=0.001)

    async def assert_nothing_left(self) -> None:
        """Of the last Attempt. Of user code, there is the process that waits for the next Attempt, if any."""
        await self.lab.settled(self.pool)
        self.lab.assert_clean(self.warm)
        assert self.warm is None or self.processes_of_user_code == 1

    @property
    def processes_of_user_code(self) -> int:
        """Number of processes below the zygote, but for the one that only reaps what ends in its box."""
        return len(keeper.descendants(zygote_of(self.machine))) - has_inner_processes()

    async def run(self, api: str, parameters: Any = None, **fields: Any) -> AttemptReport:
        """One Attempt, to its end."""
        return await self.start(api, parameters, **fields)

    async def works_again(self, nth: int | None = None) -> None:
        """The next Attempt succeeds, on the nth Machine of this turn if that matters."""
        report = await self.run("fine")
        assert value(report) == "fine"
        assert nth is None or self.nth(report) == nth

    def nth(self, report: AttemptReport) -> int:
        """Which of the Machines of this turn it was, counted from 1."""
        starts = [attempt.start for attempt in self._attempts.values() if attempt.start is not None]
        named = [start.machine for start in sorted(starts, key=lambda start: start.at)]
        names = list(dict.fromkeys(named if self._first is None else [self._first, *named]))
        return names.index(report.machine) + 1
