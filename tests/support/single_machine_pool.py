"""A pool of one Machine and the Attempts that it is given, and user code that does not end by itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Self

from machines import keeper
from machines.attempt_spec import AttemptReport
from machines.box import has_inner_processes
from machines.machine import AttemptStart, Machine
from tests.support.machines import PATIENCE, Lab, attempt_spec, settled, value, zygote_of

ENDLESS = {
    "api/awaits.py": """
        async def automation(page):
            await page.wait_for_event("close", timeout=0)
    """,
    "api/spins.py": """
        async def automation(page):
            while True:
                pass
    """,
    "api/blocks.py": """
        import time

        async def automation(page):
            time.sleep(600)
    """,
}


class One:
    """One Machine at a time, of a project whose API `fine` returns its own name.

    The tests of a module share it, each in a `turn` of its own: to start a Machine costs more than most tests do
    with it, and that one which shows that all is well after a test is the one that the next test ends.
    """

    def __init__(self, lab: Lab, files: Mapping[str, str], **fields: Any) -> None:
        self.lab = lab
        self.version = lab.version(files, **fields)
        self.pool = lab.pool()
        self._begun = asyncio.Event()
        self._attempts: list[asyncio.Task[AttemptReport]] = []
        self._before = 0
        """Machines that were gone when the turn began."""

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncGenerator[Self]:
        """One test. It begins with the Machine that the last one left, or none, and leaves no more than that."""
        self._before = self._started - (self.warm is not None)
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
            await settled(self.pool)
        self.lab.assert_clean(self.warm)
        assert self.warm is None or self.warm.retire_reason is None

    @property
    def _started(self) -> int:
        return sum(slot._started for slot in self.pool.slots)

    @property
    def warm(self) -> Machine | None:
        """The Machine that is there, if any."""
        return self.pool.slots[0].machine if self.pool.slots else None

    @property
    def machine(self) -> Machine:
        """The Machine that is there."""
        assert self.warm is not None
        return self.warm

    def name(self, nth: int) -> str:
        """What the nth Machine of this turn is called."""
        return f"lab-1-{self._before + nth}"

    async def cool(self) -> None:
        """Stop the Machine, for a test that is about its start."""
        for slot in self.pool.slots:
            await slot.close()
        self.lab.assert_clean()
        self._before = self._started

    def start(self, api: str, parameters: Any = None, **fields: Any) -> asyncio.Task[AttemptReport]:
        """Set an Attempt on its way. The fields are those of `attempt_spec`."""
        self._begun.clear()

        def begin(_begun: AttemptStart) -> None:
            self._begun.set()

        attempt = asyncio.create_task(
            self.pool.run_attempt(self.version, attempt_spec(api, parameters, **fields), begin)
        )
        self._attempts.append(attempt)
        return attempt

    async def begun(self) -> None:
        """Wait until the Attempt that was started last is on the Machine."""
        await asyncio.wait_for(self._begun.wait(), PATIENCE)

    async def assert_nothing_left(self) -> None:
        """Of the last Attempt. Of user code, there is the process that waits for the next Attempt, if any."""
        await settled(self.pool)
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
        assert nth is None or report.machine == self.name(nth)
