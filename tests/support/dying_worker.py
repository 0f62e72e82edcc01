"""A worker process that dies: takes its place, notes its Attempts, starts what a Machine would, and is killed."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from activities.workers.worker_dir import JournalEntry
from tests.support.repository import REPOSITORY

_PROGRAM = """
import contextlib, os, pickle, subprocess, sys, time
from pathlib import Path
from activities.workers.worker_dir import WorkerDir

place = WorkerDir(Path(sys.argv[1]))
with contextlib.ExitStack() as notes:
    for attempt in pickle.loads(bytes.fromhex(sys.argv[2])):
        notes.enter_context(place.journal(attempt))
    home = place.scratch / "shop-1-1" / "home"
    home.mkdir(parents=True)
    machine = subprocess.Popen(["sleep", "600"], env={**os.environ, "HOME": str(home)}, start_new_session=True)
    print(machine.pid, flush=True)
    time.sleep(600)
"""


@dataclass
class DyingWorker:
    """A worker process; `machine` is what it has started."""

    folder: Path
    process: subprocess.Popen[str]
    machine: psutil.Process

    @classmethod
    async def start(cls, folder: Path, *attempts: JournalEntry) -> DyingWorker:
        """Start one that notes these Attempts."""
        noted = pickle.dumps(attempts).hex()
        process = subprocess.Popen(  # noqa: ASYNC220  # a pipe that ends with the process, not with the event loop
            [sys.executable, "-c", _PROGRAM, str(folder), noted], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout
        line = await asyncio.to_thread(process.stdout.readline)
        return cls(folder, process, psutil.Process(int(line)))

    def die(self) -> None:
        """SIGKILL: it cannot tidy up."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Leave nothing, whatever the test came to."""
        self.die()
        if self.process.stdout:
            self.process.stdout.close()
        if self.machine_lives:
            self.machine.kill()

    @property
    def machine_lives(self) -> bool:
        return self.machine.is_running() and self.machine.status() != psutil.STATUS_ZOMBIE
