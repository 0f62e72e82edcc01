"""Measurements of Callboard: Runs through REST on the embedded stack, and figures that only Callboard has."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from callboard.dev.dev import DevStack
from callboard.schemas.workflow.attempt import AttemptRecord
from callboard.settings import Settings
from tests.bench import bodies, live
from tests.bench.reading import SLOTS
from tests.support.rest import Rest

_PROJECTS = Path(__file__).parent / "projects"
PYTHON, TYPESCRIPT = "bench", "bench-typescript"
"""The projects that do the same work in each language, with as many Machines."""
ENDINGS = ("a plain Run", "an edit", "a time-out", "a cancel", "a crash")
"""What `Callboard.after` knows."""
_ONE = "bench-one"
"""The project that has one Machine."""
_LOGIN = "bench"
"""Id of the AuthSession that the benchmark uses."""


class Callboard:
    """A running stack that serves the projects of the benchmark."""

    def __init__(self, dev: DevStack, rest: Rest, url: str, folder: Path) -> None:
        self._dev = dev
        self._rest = rest
        self._url = url
        self._folder = folder

    @classmethod
    @asynccontextmanager
    async def up(cls, folder: Path, url: str) -> AsyncGenerator[Callboard]:
        """Run the stack until the block ends."""
        shutil.copytree(_PROJECTS, folder / "projects")
        settings = Settings(data_dir=folder / "data", port=0)
        dev = DevStack(folder / "projects", settings, temporal_port=0, ui_port=0, report=print)
        async with dev, Rest.of(dev.url, key=dev.api_key, project=PYTHON) as rest:
            yield cls(dev, rest, url, folder)

    async def once(self, project: str = PYTHON) -> None:
        """Execute one Run, from its POST to its result."""
        await self._execute("read", project=project)

    async def once_traced(self) -> None:
        """Execute one Run that saves a trace."""
        await self._execute("read", saveTrace=True)

    async def log_in(self) -> None:
        """Create the AuthSession that `once_logged_in` uses."""
        body = {"id": _LOGIN, "parameters": {"url": self._url}}
        result = await self._rest.operation("create", "create", body, project="bench-login")
        if result["status"] != "done":
            raise RuntimeError(f"the login of the bench failed: {result}")

    async def once_logged_in(self) -> None:
        """Execute one Run of a project with AuthSessions, whose login is valid."""
        await self._execute("read", project="bench-login", authSession={"id": _LOGIN})

    async def handovers(self, runs: int) -> list[float]:
        """Start Runs and wait for them. Return the seconds from the end of each Attempt to the next on its Machine.

        Only Attempts that were queued when their Machine became free count.
        """
        run_ids = [await self._start("read") for _ in range(runs)]
        for run_id in run_ids:
            await self._rest.result(run_id)
        attempts: dict[str, list[tuple[datetime, datetime, datetime]]] = {}
        for run_id in run_ids:
            record = self._dev.settings.data_dir / "artifacts" / "runs" / PYTHON / run_id / "attempts/1/attempt.json"
            known = AttemptRecord.model_validate_json(record.read_text())
            if known.machine and known.queued_at and known.started_at and known.ended_at:
                attempts.setdefault(known.machine, []).append((known.started_at, known.queued_at, known.ended_at))
        gaps: list[float] = []
        for of_machine in attempts.values():
            of_machine.sort()
            for (_, _, free), (taken, queued, _) in pairwise(of_machine):
                if queued <= free:
                    gaps.append((taken - free).total_seconds())
        return gaps

    async def occupy(self) -> None:
        """Have the only Machine of a project occupied for good, so that what `start` starts waits."""
        run_id = await self._start("forever", project=_ONE)
        place = f"run/{run_id}/result"
        await self._rest.until(place, lambda answer: answer["status"] == "started", project=_ONE)

    async def start(self) -> None:
        """Start a Run that nobody executes, once `occupy` was called."""
        await self._start("read", project=_ONE)

    async def cancel(self) -> float:
        """Cancel a Run. Return the seconds from the request to its answer: nothing of the Run is left by then.

        The Run has told where it runs, as lists show. A cancel that comes sooner waits for that.
        """
        run_id = await self._start("forever", project=_ONE)
        await self._rest.until(
            "runs",
            lambda page: run_id in {run["runId"] for run in page["runs"]},
            project=_ONE,
            every=0.01,
            status="started",
        )
        began = time.perf_counter()
        answer = await self._rest.cancel(run_id, project=_ONE, wait=60)
        if answer["status"] != "canceled":
            raise RuntimeError(f"Run {run_id} was not canceled: {answer}")
        return time.perf_counter() - began

    async def after(self, ending: str) -> float:
        """Return the seconds of a Run that follows such an ending of the one before it on the only Machine."""
        match ending:
            case "a cancel":
                await self.cancel()
            case "a time-out":
                await self._execute("forever", "failed", project=_ONE, requestTimeout=1, retry={"maximumAttempts": 1})
            case "a crash":
                await self._execute("crash", "failed", project=_ONE, retry={"maximumAttempts": 1})
            case "an edit":
                await self._edit()
            case _:
                await self._execute("read", project=_ONE)
        began = time.perf_counter()
        await self._execute("read", project=_ONE)
        return time.perf_counter() - began

    async def _edit(self) -> None:
        """Change the project, and wait until that is deployed."""
        before = (await self._rest.get("", project=_ONE))["version"]
        with (self._folder / "projects/bench-one/api/read.py").open("a") as file:
            file.write("# edited\n")
        while (await self._rest.get("", project=_ONE))["version"] == before:
            await asyncio.sleep(0.01)

    async def worst_bodies(self) -> list[tuple[str, int, float, float]]:
        """Send the bodies that cost the api most: of each its name, and what `bodies.send` returns."""
        return [(body.name, *await bodies.send(self._rest, self._dev.url, body)) for body in bodies.worst_bodies()]

    async def memory_per_machine(self, project: str) -> float:
        """Return the mean proportional set size of the warm Machines of a project, in megabytes."""
        await asyncio.gather(*(self.once(project) for _ in range(SLOTS)))
        keepers = self._keepers(project)
        return sum(_pss(keeper) for keeper in keepers) / len(keepers)

    async def seconds_to_pictures(self, inputs: int) -> list[float]:
        """Return the seconds from each of so many inputs to the picture of the live view that shows it."""
        async with live.in_hand(self._rest) as place:
            return [await live.seconds_to_picture(self._rest, place) for _ in range(inputs)]

    async def beside_viewers(self, viewers: int, runs: int) -> list[float]:
        """Return the seconds of Runs of another project while so many watch a browser of the same worker."""
        took: list[float] = []
        async with live.in_hand(self._rest) as place, live.watched(self._rest, place, viewers):
            for _ in range(runs):
                began = time.perf_counter()
                await self._execute("read", project=_ONE)
                took.append(time.perf_counter() - began)
        return took

    def memory_of_worker(self) -> float:
        """Return the proportional set size of the worker process alone, in megabytes."""
        return _pss_of(self._worker())

    async def _start(self, api: str, *, project: str | None = None, **fields: Any) -> str:
        return await self._rest.start(api, {"url": self._url}, project=project, **{"saveTrace": False, **fields})

    async def _execute(self, api: str, status: str = "completed", *, project: str | None = None, **fields: Any) -> None:
        """Execute a Run, which has to end with this status."""
        answer = await self._rest.result(await self._start(api, project=project, **fields), project=project)
        if answer["status"] != status:
            raise RuntimeError(f"a Run of the bench should be {status}: {answer}")

    def _worker(self) -> psutil.Process:
        return next(child for child in psutil.Process().children() if "worker" in child.cmdline())

    def _keepers(self, project: str) -> list[psutil.Process]:
        """Return the keepers of the Machines of a project. Their folders are named `PROJECT-SLOT-NUMBER`."""
        children = [(child, child.cmdline()) for child in self._worker().children()]
        keepers = [(child, Path(command[4])) for child, command in children if "keeper.py" in " ".join(command)]
        return [keeper for keeper, folder in keepers if folder.name.rsplit("-", 2)[0] == project]


def _pss(process: psutil.Process) -> float:
    return sum(_pss_of(each) for each in (process, *process.children(recursive=True)))


def _pss_of(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        return process.memory_full_info().pss / 1e6
    return 0.0
