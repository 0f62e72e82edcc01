"""`make bench-sizing`: memory and processor time of the services, of each Machine, and of each Run.

Memory is the proportional set size: what several processes share is divided among them, so that the figures add up. It
does not depend on what else the host does; processor time hardly does, as opposed to durations.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from bench.servers import process
from devstack import ports
from devstack.dev import DevStack
from settings import Settings
from tests.support.polling import until
from tests.support.processes import command_line, find_child

_MACHINES = 3
_API = """
import asyncio
from pathlib import Path

async def automation(page, params, **_):
    if "url" in params:
        await page.goto(params["url"])
    if "windows" in params:
        for _ in range(params["windows"]):
            await (await page.context.new_page()).goto(params["url"])
    items = await page.locator("li").count()
    if "began" in params:
        Path(params["began"]).touch()
        while not Path(params["go"]).exists():
            await asyncio.sleep(0.1)
    return items
"""


async def main(rounds: int, runs: int) -> None:
    """Measure, and print two tables with medians."""
    with tempfile.TemporaryDirectory(prefix="callboard-sizing-") as name:
        folder = Path(name)
        site = ports.choose_ports({"site": 0})["site"]
        url = f"http://127.0.0.1:{site}/"
        project = folder / "projects" / "sizing"
        (project / "api").mkdir(parents=True)
        (project / "Intuned.json").write_text(
            f'{{"projectName": "sizing", "replication": {{"maxConcurrentRequests": {_MACHINES}}}}}'
        )
        (project / "api" / "visit.py").write_text(_API)
        settings = Settings(data_dir=folder / "data", port=0, shared_folders=[folder])
        async with (
            process("-m", "bench.site", str(site)),
            DevStack(folder / "projects", settings, temporal_port=0, ui_port=0, report=print) as dev,
            httpx.AsyncClient(
                base_url=dev.url, headers={"x-api-key": dev.api_key}, timeout=90, trust_env=False
            ) as http,
        ):
            sizing = Sizing(dev, http, url, folder)
            memory = [await sizing.memory() for _ in range(rounds)]
            costs = [await sizing.processor(runs) for _ in range(rounds)]
    console = Console()
    console.print(_table("memory, MB", memory, digits=0))
    console.print(_table("processor time of a Run, s", costs, digits=2))


class Sizing:
    """Measurements of a running stack."""

    def __init__(self, dev: DevStack, http: httpx.AsyncClient, url: str, folder: Path) -> None:
        self._http = http
        self._url = url
        self._folder = folder
        self._runs = f"/api/v1/workspace/{dev.settings.workspace}/projects/sizing/run"
        self._worker, self._api = (find_child(module, Path(dev.settings.data_dir)) for module in ("worker", "api"))
        temporal = dev.temporal.process.pid
        assert temporal is not None
        self._temporal = psutil.Process(temporal)
        self._number = 0

    async def memory(self) -> dict[str, float]:
        """Return megabytes, while Machines are warm and while they hold pages."""
        found: dict[str, float] = {}
        for what, parameters in (
            ("a Machine with a page of 50 items", {"url": self._url}),
            ("a Machine with ten windows", {"url": self._url, "windows": 9}),
        ):
            began, go = await self._hold(parameters)
            found[what] = _memory(self._machines()) / _MACHINES
            found[f"threads of {what}"] = sum(_threads(each) for each in self._machines()) / _MACHINES
            go.touch()
            await asyncio.gather(*(self._end(run_id) for run_id in began))
        await until(lambda: len(self._keepers()) == _MACHINES)
        found["a warm Machine"] = _memory(self._machines()) / _MACHINES
        below = {process.pid for process in self._machines()}
        worker = [self._worker, *(each for each in self._worker.children(recursive=True) if each.pid not in below)]
        found["worker"] = _memory(worker)
        found["api"] = _memory([self._api])
        found["Temporal's dev server"] = _memory([self._temporal])
        return found

    async def processor(self, runs: int) -> dict[str, float]:
        """Return seconds of processor time for each Run of a page, one after the other."""
        found: dict[str, float] = {}
        for what, trace in (("without a trace", False), ("with a trace", True)):
            before, after = await self._times_around(runs, trace=trace)
            for part, seconds in after.items():
                found[f"{part}, {what}"] = (seconds - before[part]) / runs
            found[f"all, {what}"] = sum(after[part] - before[part] for part in after) / runs
        return found

    async def _times_around(self, runs: int, *, trace: bool) -> tuple[dict[str, float], dict[str, float]]:
        """Return the times before and after these Runs, during which no Machine may end: its times would be lost."""
        while True:
            await self._visit(trace=trace)
            keepers, before = self._keepers(), self._times()
            for _ in range(runs):
                await self._visit(trace=trace)
            after = self._times()
            if self._keepers() == keepers:
                return before, after

    def _times(self) -> dict[str, float]:
        return {
            "worker and Machines": _processor([self._worker, *self._worker.children(recursive=True)]),
            "api": _processor([self._api]),
            "Temporal": _processor([self._temporal]),
        }

    def _keepers(self) -> list[psutil.Process]:
        return [child for child in self._worker.children() if "machines/keeper.py" in " ".join(command_line(child))]

    def _machines(self) -> list[psutil.Process]:
        """Return all processes of all Machines."""
        return [each for keeper in self._keepers() for each in (keeper, *keeper.children(recursive=True))]

    async def _hold(self, parameters: dict[str, Any]) -> tuple[list[str], Path]:
        """Occupy every Machine, until the file is there that this returns."""
        self._number += 1
        go = self._folder / f"go-{self._number}"
        notes = [self._folder / f"began-{self._number}-{number}" for number in range(_MACHINES)]
        ids = [await self._start({**parameters, "began": str(note), "go": str(go)}) for note in notes]
        await until(lambda: all(note.exists() for note in notes))
        return ids, go

    async def _visit(self, *, trace: bool) -> None:
        await self._end(await self._start({"url": self._url}, saveTrace=trace))

    async def _start(self, parameters: dict[str, Any], **fields: Any) -> str:
        body = {"api": "visit", "parameters": parameters, **fields}
        return (await self._http.post(f"{self._runs}/start", json=body)).raise_for_status().json()["runId"]

    async def _end(self, run_id: str) -> None:
        answer = await self._http.get(f"{self._runs}/{run_id}/result", params={"wait": 60})
        if (status := answer.raise_for_status().json()["status"]) != "completed":
            raise RuntimeError(f"The Run {run_id} is {status}.")


def _memory(processes: Iterable[psutil.Process]) -> float:
    total = 0
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            total += each.memory_full_info().pss
    return total / 1e6


def _threads(process: psutil.Process) -> int:
    with suppress(psutil.NoSuchProcess):
        return process.num_threads()
    return 0


def _processor(processes: Iterable[psutil.Process]) -> float:
    """Return what these have used, and what children of theirs had used that are gone."""
    total = 0.0
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            total += sum(each.cpu_times()[:4])
    return total


def _table(title: str, rounds: list[dict[str, float]], *, digits: int) -> Table:
    table = Table(title, "median", "least", "most")
    for what in rounds[0]:
        values = [found[what] for found in rounds]
        table.add_row(what, *(f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values))))
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.sizing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=30, help="Runs of each kind in a round.")
    given = parser.parse_args()
    asyncio.run(main(given.rounds, given.runs))
