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

import httpx
import psutil

from bench.reading import SLOTS
from devstack.dev import DevStack
from schemas.workflow.attempt import AttemptRecord
from settings import Settings

_PROJECTS = Path(__file__).parent / "projects"
ENDINGS = ("a plain Run", "an edit", "a time-out", "a cancel", "a crash")
"""What `Callboard.after` knows."""
_LOGIN = "bench"
"""Id of the AuthSession that the benchmark uses."""


class Callboard:
    """A running stack that serves the projects of the benchmark."""

    def __init__(self, dev: DevStack, http: httpx.AsyncClient, url: str, folder: Path) -> None:
        self._dev = dev
        self._http = http
        self._url = url
        self._folder = folder
        self._projects = f"/api/v1/workspace/{dev.settings.workspace}/projects"
        self._runs = f"{self._projects}/bench/run"
        self._one = f"{self._projects}/bench-one/run"

    @classmethod
    @asynccontextmanager
    async def up(cls, folder: Path, url: str) -> AsyncGenerator[Callboard]:
        """Run the stack until the block ends."""
        shutil.copytree(_PROJECTS, folder / "projects")
        settings = Settings(data_dir=folder / "data", port=0)
        dev = DevStack(folder / "projects", settings, temporal_port=0, ui_port=0, report=print)
        async with (
            dev,
            httpx.AsyncClient(
                base_url=dev.url, headers={"x-api-key": dev.api_key}, timeout=120, trust_env=False
            ) as http,
        ):
            yield cls(dev, http, url, folder)

    async def once(self, api: str = "read", parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        """Execute one Run, from its POST to its result."""
        return await self._result(await self._start(api, parameters or {"url": self._url}))

    async def once_traced(self) -> dict[str, Any]:
        """Execute one Run that saves a trace."""
        return await self._result(await self._start("read", {"url": self._url}, trace=True))

    async def log_in(self) -> None:
        """Create the AuthSession that `once_logged_in` uses."""
        sessions = f"{self._projects}/bench-login/auth-sessions"
        body = {"id": _LOGIN, "parameters": {"url": self._url}}
        answer = await self._http.post(f"{sessions}/create", json=body)
        answer.raise_for_status()
        operation = answer.json()["operationId"]
        while True:
            result = (await self._http.get(f"{sessions}/create/{operation}/result")).json()
            if result["status"] == "done":
                return
            if result["status"] not in ("pending", "in_progress"):
                raise RuntimeError(f"the login of the bench failed: {result}")
            await asyncio.sleep(0.05)

    async def once_logged_in(self) -> dict[str, Any]:
        """Execute one Run of a project with AuthSessions, whose login is valid."""
        runs = f"{self._projects}/bench-login/run"
        body = {"api": "read", "parameters": {"url": self._url}, "saveTrace": False, "authSession": {"id": _LOGIN}}
        answer = await self._http.post(f"{runs}/start", json=body)
        answer.raise_for_status()
        return await self._result(answer.json()["runId"], runs)

    def handovers(self, run_ids: list[str]) -> list[float]:
        """Return the seconds from the end of each Attempt to the start of the next on its Machine.

        Only Attempts that were queued when their Machine became free count.
        """
        attempts: dict[str, list[tuple[datetime, datetime, datetime]]] = {}
        for run_id in run_ids:
            record = self._dev.settings.data_dir / "artifacts" / "runs" / "bench" / run_id / "attempts/1/attempt.json"
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

    async def accept(self, starts: int) -> tuple[list[float], list[str]]:
        """Start Runs one after the other, and wait for them.

        Returns:
            The seconds that each start request took, and the ids of the Runs.
        """
        took: list[float] = []
        run_ids: list[str] = []
        for _ in range(starts):
            began = time.perf_counter()
            run_ids.append(await self._start("read", {"url": self._url}))
            took.append(time.perf_counter() - began)
        for run_id in run_ids:
            await self._result(run_id)
        return took, run_ids

    async def cancel(self) -> float:
        """Cancel a Run. Return the seconds from the request to its answer: nothing of the Run is left by then."""
        run_id = await self._start("forever", {"url": self._url}, runs=self._one)
        while (await self._status(run_id)) == "pending":
            await asyncio.sleep(0.01)
        began = time.perf_counter()
        answer = await self._http.post(f"{self._one}/{run_id}/cancel", params={"wait": 60})
        if answer.json()["status"] != "canceled":
            raise RuntimeError(f"Run {run_id} was not canceled: {answer.text}")
        return time.perf_counter() - began

    async def after(self, ending: str) -> float:
        """Return the seconds of a Run that follows such an ending of the one before it on the only Machine."""
        match ending:
            case "a cancel":
                await self.cancel()
            case "a time-out":
                await self._fail("forever", timeout=1)
            case "a crash":
                await self._fail("crash", timeout=60)
            case "an edit":
                await self._edit()
            case _:
                await self._read_on_one()
        began = time.perf_counter()
        await self._read_on_one()
        return time.perf_counter() - began

    async def _read_on_one(self) -> None:
        await self._result(await self._start("read", {"url": self._url}, runs=self._one), self._one)

    async def _fail(self, api: str, *, timeout: int) -> None:
        limits: dict[str, Any] = {"requestTimeout": timeout, "retry": {"maximumAttempts": 1}}
        run_id = await self._start(api, {"url": self._url}, runs=self._one, **limits)
        while (status := await self._status(run_id, wait=60)) in ("pending", "started"):
            pass
        if status != "failed":
            raise RuntimeError(f"Run {run_id} should have failed, and is {status}")

    async def _edit(self) -> None:
        """Change the project, and wait until that is deployed."""
        project = f"{self._projects}/bench-one"
        before = (await self._http.get(project)).json()["version"]
        with (self._folder / "projects/bench-one/api/read.py").open("a") as file:
            file.write("# edited\n")
        while (await self._http.get(project)).json()["version"] == before:
            await asyncio.sleep(0.01)

    async def memory_per_machine(self) -> float:
        """Return the mean proportional set size of the warm Machines, in megabytes."""
        await asyncio.gather(*(self.once() for _ in range(SLOTS)))
        keepers = self._keepers()
        return sum(_pss(keeper) for keeper in keepers) / len(keepers)

    def memory_of_worker(self) -> float:
        """Return the proportional set size of the worker process alone, in megabytes."""
        return _pss_of(self._worker())

    async def _start(
        self, api: str, parameters: dict[str, Any], *, trace: bool = False, runs: str = "", **more: Any
    ) -> str:
        body = {"api": api, "parameters": parameters, "saveTrace": trace, **more}
        answer = await self._http.post(f"{runs or self._runs}/start", json=body)
        answer.raise_for_status()
        return answer.json()["runId"]

    async def _status(self, run_id: str, wait: int = 0) -> str:
        return (await self._http.get(f"{self._one}/{run_id}/result", params={"wait": wait})).json()["status"]

    async def _result(self, run_id: str, runs: str = "") -> dict[str, Any]:
        while True:
            answer = (await self._http.get(f"{runs or self._runs}/{run_id}/result", params={"wait": 60})).json()
            if answer["status"] == "completed":
                return answer
            if answer["status"] not in ("pending", "started"):
                raise RuntimeError(f"a Run of the bench did not complete: {answer}")

    def _worker(self) -> psutil.Process:
        return next(child for child in psutil.Process().children() if "worker" in child.cmdline())

    def _keepers(self) -> list[psutil.Process]:
        return [child for child in self._worker().children() if any("keeper.py" in part for part in child.cmdline())]


def _pss(process: psutil.Process) -> float:
    return sum(_pss_of(each) for each in (process, *process.children(recursive=True)))


def _pss_of(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        return process.memory_full_info().pss / 1e6
    return 0.0
