"""However the process ends that owns Machines, they end with it."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from machines import keeper
from tests.support.machines import PATIENCE, Lab, of_folder
from tests.support.repository import REPOSITORY

OWNER = """
import asyncio, sys
from pathlib import Path
from tests.support.machines import attempt_spec, open_lab

PROJECT = {
    "api/awaits.py": "async def automation(page): await page.wait_for_event('close', timeout=0)",
    "api/spins.py": "async def automation(page):\\n    print('spinning')\\n    while True: pass",
    "api/fine.py": "async def automation(page): pass",
}

async def main():
    async with open_lab(Path(sys.argv[1])) as lab:
        pool, version = lab.pool(2), lab.version(PROJECT)
        await pool.run_attempt(version, attempt_spec("fine"), lambda _: None)
        begun = asyncio.Semaphore(0)
        attempts = [
            asyncio.create_task(pool.run_attempt(version, attempt_spec(api), lambda _: begun.release()))
            for api in ("awaits", "spins")
        ]
        for _ in attempts:
            await begun.acquire()
        print("ready", flush=True)
        if sys.argv[2] == "raise":
            raise RuntimeError("a defect")
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM", "raise"])
async def test_machines_end_with_the_worker(tmp_path: Path, end: str) -> None:
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OWNER, str(tmp_path), end),
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    scratch = tmp_path / "scratch"
    async with asyncio.timeout(PATIENCE):
        assert owner.stdout is not None
        assert await owner.stdout.readline() == b"ready\n"
        if end.startswith("SIG"):
            assert len(keeper.descendants(owner.pid)) > 10
            owner.send_signal(signal.Signals[end])
        assert await owner.wait() != 0
        while of_folder(scratch) or list(scratch.iterdir()):
            await asyncio.sleep(0.01)


async def test_a_machine_whose_owner_hangs_up_without_a_word_ends(lab: Lab) -> None:
    machine = await lab.machine(lab.version({"api/fine.py": "async def automation(page): pass"}))
    machine._channel.close()
    async with asyncio.timeout(PATIENCE):
        await machine._keeper.ended()
    lab.assert_clean()
