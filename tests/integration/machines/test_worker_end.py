"""However the process ends that owns Machines, they end with it."""

from __future__ import annotations

import asyncio
import signal
import sys
from datetime import timedelta
from pathlib import Path
from socket import socket

import pytest

from callboard.machines import keeper
from callboard.machines.machine import PROCESS_ENDED
from callboard.machines.runner.channel import Channel
from tests.support.automations import automations
from tests.support.machines import PATIENCE, Lab, of_folder
from tests.support.repository import REPOSITORY

OWNER = """
import asyncio, sys
from pathlib import Path
from tests.support.automations import automations
from tests.support.machines import attempt_of, open_lab
from tests.support.polling import until
from tests.support.machines import ENDLESS

PROJECT = {**ENDLESS, **automations(fine="pass")}

async def main():
    async with open_lab(Path(sys.argv[1])) as lab:
        pool, version = lab.pool(2), lab.version(PROJECT)
        await pool.run_attempt(version, attempt_of("fine"))
        attempts = [attempt_of(api) for api in ("awaits", "spins")]
        tasks = [asyncio.create_task(pool.run_attempt(version, attempt)) for attempt in attempts]
        await until(lambda: all(attempt.start for attempt in attempts))
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


async def test_a_machine_whose_owner_hangs_up_without_a_word_ends(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    channels, over = list[Channel](), Channel.over

    async def kept(end: socket) -> Channel:
        channels.append(await over(end))
        return channels[-1]

    monkeypatch.setattr(Channel, "over", kept)
    machine = await lab.machine(lab.version(automations(fine="pass")))
    channels[0].close()
    await machine.wait_idle(timedelta(seconds=PATIENCE))
    assert machine.retire_reason == PROCESS_ENDED
    lab.assert_clean()
