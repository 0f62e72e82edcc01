"""Attempts that end in every way, on a stack of their own, and what its worker and api hold on to afterwards."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from callboard.dev.dev import DevStack
from callboard.machines.runner.folders import ATTEMPT
from callboard.projects.languages import Language
from callboard.settings import Settings
from tests.support.polling import until
from tests.support.processes import command_line, find_child
from tests.support.repository import REPOSITORY
from tests.support.rest import Rest

MACHINES = 3
_PROJECTS = REPOSITORY / "tests" / "system" / "projects"
_FOLDERS = {Language.PYTHON: "lab", Language.TYPESCRIPT: "lab-typescript"}
"""Where the project of the load is, by its language."""
_PIPES = 2
"""Number of pipes between the worker and each process that masks traces."""
_SETTLES_WITHIN = 30.0
"""Most seconds to wait until all is at rest. The Machine that was stopped last is gone after two."""


@dataclass(frozen=True)
class Kind:
    """A way for a Run to end."""

    api: str
    runs: int
    """Number of Runs of this kind in one round of the mix."""
    status: str = "completed"
    code: str | None = None
    attempts: int = 1
    seconds: int = 60
    """The Run's `requestTimeout`."""
    canceled: bool = False


MIX = (
    Kind("echo", 59),
    Kind("opens", 10),
    Kind("fail", 8, "failed", "script-execution-exception", attempts=3),
    # Each Run below ends its Machine, and starting the next Machine costs as much as ten other Attempts.
    Kind("crash", 2, "failed", "script-process-crashed"),
    Kind("wait", 2, "failed", "script-timeout", seconds=1),
    Kind("stubborn", 1, "failed", "script-timeout", seconds=1),
    Kind("wait", 2, "canceled", canceled=True),
)


@dataclass(frozen=True)
class Holding:
    """The resources that the two services hold while nothing runs and every Machine is warm."""

    worker_memory: float
    """Megabytes that the worker alone uses, as the memory that it shares with other processes depends on those."""
    worker_threads: int
    worker_files: int
    """Number of open files, without the pipes to the processes that mask traces: how many of those are kept depends on
    how many Attempts have ended at the same time."""
    machine_processes: int
    """Number of processes below the worker, without those that mask traces."""
    api_memory: float
    api_threads: int
    api_files: int
    api_processes: int
    scratch_files: int
    """Number of files in the folders of the Machines, most of them of the browsers' profiles."""


class Soak:
    """A load on a running stack, and measurements of its processes."""

    def __init__(self, dev: DevStack, folder: Path) -> None:
        """Create the load without starting a Run.

        Args:
            dev: A stack that serves `project` and that nobody else uses.
            folder: Folder for files by which Runs are told to go on.
        """
        self._dev = dev
        self._folder = folder
        self._data = Path(dev.settings.data_dir)

    @classmethod
    @asynccontextmanager
    async def up(cls, folder: Path, language: Language) -> AsyncGenerator[Soak]:
        """Run a stack for the load until the block ends."""
        project(folder / "projects", language)
        # The load and its Runs tell each other things in that folder.
        settings = Settings(data_dir=folder / "data", port=0, shared_folders=[folder])
        async with DevStack(folder / "projects", settings, temporal_port=0, ui_port=0, report=print) as dev:
            yield cls(dev, folder)

    async def round(self, seed: int, mix: Sequence[Kind] = MIX) -> None:
        """Execute the Attempts of a mix in mixed order, more at a time than there are Machines.

        Raises:
            RuntimeError: A Run did not end as its kind has to.
        """
        kinds = [kind for kind in mix for _ in range(kind.runs)]
        random.Random(seed).shuffle(kinds)
        left = iter(kinds)
        async with self._client() as rest, asyncio.TaskGroup() as group:
            for _ in range(2 * MACHINES):
                group.create_task(self._drain(rest, left))

    async def settle(self) -> Holding:
        """Make every Machine warm, wait until nothing runs, and measure."""
        async with self._client() as rest:
            with tempfile.TemporaryDirectory(dir=self._folder) as folder:
                go = Path(folder) / "go"
                notes = [Path(folder) / str(number) for number in range(MACHINES)]
                held = [await rest.start("until-told", {"began": str(note), "go": str(go)}) for note in notes]
                await until(lambda: all(note.exists() for note in notes), _SETTLES_WITHIN)
                go.touch()
                for run_id in held:
                    await rest.result(run_id)
        await self.until_at_rest(MACHINES)
        return self.holding()

    async def until_at_rest(self, machines: int) -> None:
        """Wait until no Attempt runs, and this number of Machines is all that there is."""
        rest = [], machines, machines
        await until(
            lambda: (self.journal(), len(self.machines()), len(self.prepared())), _SETTLES_WITHIN, true=rest.__eq__
        )

    def journal(self) -> list[Path]:
        """Return the files that the worker has for running Attempts."""
        return list(self._data.glob("workers/*/attempts/*.json"))

    def prepared(self) -> list[Path]:
        """Return the folders of Attempts. At rest, every Machine has one, which it has created for its next Attempt."""
        return list(self._data.glob(f"workers/*/scratch/*/{ATTEMPT}"))

    def machines(self) -> list[Path]:
        """Return the scratch folders of the existing Machines."""
        return list(self._data.glob("workers/*/scratch/*"))

    def keepers(self) -> list[psutil.Process]:
        """Return the keeper processes of the existing Machines."""
        return [child for child in self._service("worker").children() if "keeper.py" in " ".join(command_line(child))]

    def zombies(self) -> list[psutil.Process]:
        """Return the processes below both services that have ended, and that nobody has waited for."""
        below = [*self.below_worker(), *self._service("api").children(recursive=True)]
        return [process for process in below if process.status() == psutil.STATUS_ZOMBIE]

    def below_worker(self) -> list[psutil.Process]:
        """Return the processes of all Machines, and those that mask traces."""
        return self._service("worker").children(recursive=True)

    def trace_processes(self) -> list[psutil.Process]:
        """Return the processes that mask traces; they belong to the worker, and outlive Machines."""
        return [
            child
            for child in self._service("worker").children()
            if "trace_redaction.py" in " ".join(command_line(child))
        ]

    def holding(self) -> Holding:
        """Measure the resources that the two services hold now."""
        worker, api = self._service("worker"), self._service("api")
        masking = len(self.trace_processes())
        return Holding(
            worker_memory=worker.memory_full_info().uss / 1e6,
            worker_threads=worker.num_threads(),
            worker_files=worker.num_fds() - _PIPES * masking,
            machine_processes=len(self.below_worker()) - masking,
            api_memory=api.memory_full_info().uss / 1e6,
            api_threads=api.num_threads(),
            api_files=api.num_fds(),
            api_processes=len(api.children(recursive=True)),
            scratch_files=sum(path.is_file() for folder in self.machines() for path in folder.rglob("*")),
        )

    def _service(self, module: str) -> psutil.Process:
        return find_child(module, self._data)

    def _client(self) -> AbstractAsyncContextManager[Rest]:
        """Return a client for one round, as the connections that it keeps open are open files of the api."""
        return Rest.of(self._dev.url, key=self._dev.api_key)

    async def _drain(self, rest: Rest, kinds: Iterator[Kind]) -> None:
        for kind in kinds:
            limits: dict[str, Any] = {"requestTimeout": kind.seconds, "retry": {"maximumAttempts": kind.attempts}}
            run_id = await rest.start(kind.api, {"seconds": 600}, **limits)
            if kind.canceled:
                await rest.until(f"run/{run_id}/result", lambda run: run["status"] != "pending")
                await rest.cancel(run_id, wait=60)
            answer = await rest.result(run_id)
            code: str | None = answer["error"]["details"]["last_error"]["code"] if "error" in answer else None
            if (answer["status"], code) != (kind.status, kind.code):
                raise RuntimeError(f"a Run of API {kind.api} ended otherwise than {kind.status}: {answer}")


def project(folder: Path, language: Language = Language.PYTHON) -> None:
    """Create the project of the load in `folder`, the folder of projects."""
    shutil.copytree(_PROJECTS / _FOLDERS[language], folder / "lab")
    (folder / "lab" / "Intuned.jsonc").write_text(
        f'{{"projectName": "lab", "replication": {{"maxConcurrentRequests": {MACHINES}}}}}'
    )
