"""A pool of one Machine and the Attempts that it is given, and user code that does not end by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from machines.machine import Begun
from machines.order import Report
from tests.machines.lab import PATIENCE, Lab, order, value

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
    """One Machine at a time, of a project whose API `fine` returns its own name."""

    def __init__(self, lab: Lab, files: Mapping[str, str]) -> None:
        self.lab = lab
        self.version = lab.version(files)
        self.pool = lab.pool()
        self._begun = asyncio.Event()

    def start(self, api: str, parameters: Any = None, **fields: Any) -> asyncio.Task[Report]:
        """Set an Attempt on its way. The fields are those of `order`."""
        self._begun.clear()

        def begin(_begun: Begun) -> None:
            self._begun.set()

        return asyncio.create_task(self.pool.run(self.version, order(api, parameters, **fields), begin))

    async def begun(self) -> None:
        """Wait until the Attempt that was started last is on the Machine."""
        await asyncio.wait_for(self._begun.wait(), PATIENCE)

    async def run(self, api: str, parameters: Any = None, **fields: Any) -> Report:
        """One Attempt, to its end."""
        return await self.start(api, parameters, **fields)

    async def works_again(self, machine: str | None = None) -> None:
        """The next Attempt succeeds, on the Machine of that name if that matters."""
        report = await self.run("fine")
        assert value(report) == "fine"
        assert machine in {None, report.machine}
