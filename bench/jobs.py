"""`make bench-jobs`: JobRuns, Runs that clients start one by one, a long JobRun, and a long payload.

Quote ratios and medians: Temporal, api, worker and browsers share the host's processors.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psutil
from rich.table import Table

from bench.concurrency import for_each
from bench.fleet.figures import percentile
from bench.fleet.installation import QUICK, Installation, console, progress, wait_until
from schemas.workflow import names

_PROJECT = "quick"
_ITEM: dict[str, Any] = {"apiName": "work", "parameters": {}}
_STARTS_AT_ONCE = 16
_FIRST_READING = 0.1
"""Part of a long JobRun after which the memory of its worker is read for the first time."""
_SETTLED_READINGS = 6
_OF_THE_FLEET = ("message_UpdateWorkflowExecution", "grpc_ExecuteMultiOperation", "grpc_QueryWorkflow")
_OTHER_PROCESSOR_FREE = 0.2
"""Seconds between two readings of a JobRun that goes on: each of them costs the api a request to Temporal."""


_ENDLESS = 10_000
"""Items of a JobRun that does not end while it is measured."""
_SHARED_RUNS = 200
"""So many Runs of a JobRun that came second have ended when it is seen how two JobRuns share Machines."""


@dataclass(frozen=True)
class LongRun:
    """What a long JobRun has cost."""

    results: int
    """Different Runs among the lines of its results."""
    per_second: float
    first_memory: float
    """Megabytes of the worker, without what it shares with others, after the first tenth of the items."""
    last_memory: float
    """The same after all of them."""
    longest_history: int
    """Events of the longest execution of the JobRun's workflow."""
    executions: int


class Jobs:
    """The Jobs of one project, over REST."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._jobs = f"/{_PROJECT}/jobs"

    async def create(self, job_id: str, items: int) -> None:
        """Create a Job with this many items, by one request whose body is streamed."""
        answer = await self._installation.http.post(
            self._jobs, content=_lines(job_id, items), headers={"content-type": "application/x-ndjson"}
        )
        answer.raise_for_status()

    async def trigger(self, job_id: str) -> str:
        """Start a JobRun, and return its id."""
        answer = await self._installation.http.post(f"{self._jobs}/{job_id}/trigger")
        answer.raise_for_status()
        return answer.json()["jobRunId"]

    async def read(self, job_id: str, job_run_id: str) -> dict[str, Any]:
        """Return a JobRun with its results, as REST shows it."""
        answer = await self._installation.http.get(f"{self._jobs}/{job_id}/runs/{job_run_id}")
        answer.raise_for_status()
        return answer.json()

    async def until_ended(self, job_id: str, job_run_id: str) -> dict[str, Any]:
        """Wait for the end of a JobRun."""
        while True:
            answer = await self.read(job_id, job_run_id)
            if answer["jobRun"]["end_time"] is not None:
                return answer
            await asyncio.sleep(_OTHER_PROCESSOR_FREE)

    async def terminate(self, job_id: str, job_run_id: str) -> None:
        """Terminate a JobRun."""
        (await self._installation.http.post(f"{self._jobs}/{job_id}/runs/{job_run_id}/terminate")).raise_for_status()

    async def lines_of_results(self, answer: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """Yield the lines of the results of a JobRun that has ended."""
        async with self._installation.http.stream("GET", answer["results"]["signed_url"]) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                yield json.loads(line)


async def _lines(job_id: str, items: int) -> AsyncIterator[bytes]:
    yield json.dumps({"id": job_id, "configuration": {}}).encode() + b"\n"
    line = json.dumps(_ITEM).encode() + b"\n"
    for first in range(0, items, 1000):
        yield line * min(1000, items - first)


async def throughput(rounds: int, items: int, machines: int) -> Table:
    """Compare the Runs of a JobRun with as many that clients start at once, by turns, and count Temporal's actions."""
    singles: list[float] = []
    in_jobs: list[float] = []
    actions: dict[str, Counter[str]] = {"single": Counter(), "job": Counter()}
    async with _installation(machines) as (installation, _):
        jobs = Jobs(installation)
        await jobs.create("many", items)
        await _execute_singles(installation, machines)  # now all Machines are warm
        for number in range(rounds):
            progress(f"round {number + 1} of {rounds}")
            before = await _actions(installation)
            singles.append(await _execute_singles(installation, items))
            between = await _actions(installation)
            actions["single"].update(between - before)
            in_jobs.append(await _execute_job(jobs, "many", items))
            actions["job"].update(await _actions(installation) - between)
    table = Table(f"{items} quick Runs, {rounds} rounds", "Runs/s", "of single Runs", "actions for each Run")
    for name, values, kind in (("started one by one", singles, "single"), ("by a JobRun", in_jobs, "job")):
        ratio = statistics.median(values) / statistics.median(singles)
        each = actions[kind].total() / (rounds * items)
        table.add_row(name, f"{statistics.median(values):.2f}", f"{ratio:.2f}", f"{each:.2f}")
    return table


async def _execute_singles(installation: Installation, count: int) -> float:
    """Start Runs, wait for all of them, and return how many have ended a second."""
    began = time.perf_counter()
    run_ids: list[str] = []

    async def start(_number: int) -> None:
        run_ids.append(await installation.start(_PROJECT, saveTrace=True))  # as Runs of JobRuns do

    await for_each(range(count), start, at_once=_STARTS_AT_ONCE)
    results = await asyncio.gather(*(installation.result(_PROJECT, run_id) for run_id in run_ids))
    took = time.perf_counter() - began
    if {result["status"] for result in results} != {"completed"}:
        raise RuntimeError("a Run of the bench did not complete")
    return count / took


async def _execute_job(jobs: Jobs, job_id: str, count: int) -> float:
    """Trigger a Job, wait for its JobRun, and return how many Runs have ended a second."""
    began = time.perf_counter()
    answer = await jobs.until_ended(job_id, await jobs.trigger(job_id))
    took = time.perf_counter() - began
    _check(answer, count)
    return count / took


async def long_run(items: int, machines: int) -> Table:
    """Execute a JobRun of many items that do nothing."""
    async with _installation(machines) as (installation, worker):
        jobs = Jobs(installation)
        await jobs.create("long", items)
        began = time.perf_counter()
        job_run_id = await jobs.trigger("long")
        first = 0.0
        while (answer := await jobs.read("long", job_run_id))["jobRun"]["status"] == "PENDING":
            if not first and (answer["jobRun"]["successful_runs"] or 0) >= items * _FIRST_READING:
                first = _memory(worker)
            await asyncio.sleep(1)
        seconds = time.perf_counter() - began
        _check(answer, items)
        runs = {line["apiInfo"]["runId"] async for line in jobs.lines_of_results(answer)}
        query = f"WorkflowType = '{names.JOB_RUN}' AND ExecutionStatus != 'Running'"

        async def is_listed() -> bool:
            return (await installation.client.count_workflows(query)).count > 0

        await wait_until(is_listed)
        histories = [listed.history_length async for listed in installation.client.list_workflows(query)]
        found = LongRun(len(runs), items / seconds, first, _memory(worker), max(histories), len(histories))
    table = Table(f"a JobRun of {items} items that do nothing, {machines} Machines", "")
    table.add_row("results", f"{found.results}")
    table.add_row("Runs/s", f"{found.per_second:.2f}")
    table.add_row("worker after a tenth of them, MB", f"{found.first_memory:.0f}")
    table.add_row(
        "worker at the end, MB", f"{found.last_memory:.0f} ({found.last_memory / found.first_memory:.2f} times as much)"
    )
    table.add_row("longest history, events", f"{found.longest_history} (in {found.executions} executions)")
    return table


async def payload(items: int) -> Table:
    """Create a Job with a long payload."""
    async with _installation(1) as (installation, _):
        (api,) = [child for child in psutil.Process().children() if child.cmdline()[-2:] == ["-m", "api"]]
        at_rest = peak = api.memory_info().rss
        began = time.perf_counter()
        creating = asyncio.create_task(Jobs(installation).create("large", items))
        while not creating.done():
            peak = max(peak, api.memory_info().rss)
            await asyncio.sleep(0.05)
        await creating
        took = time.perf_counter() - began
    table = Table(f"a payload of {items} items as NDJSON", "")
    table.add_row("accepted within, s", f"{took:.1f}")
    table.add_row("api at rest, MB", f"{at_rest / 1e6:.0f}")
    table.add_row("api at most, MB", f"{peak / 1e6:.0f}")
    return table


async def beside(repetitions: int, machines: int) -> Table:
    """Time Runs that a client starts beside JobRuns that occupy all Machines, and see how two of these share them."""
    async with _installation(machines) as (installation, _):
        jobs = Jobs(installation)
        for job_id in ("first", "second"):
            await jobs.create(job_id, _ENDLESS)
        await _execute_singles(installation, machines)  # now all Machines are warm
        alone = [await installation.timed(_PROJECT) for _ in range(repetitions)]
        first = await jobs.trigger("first")
        await _until_succeeded(jobs, "first", first, machines)
        beside_one = [await installation.timed(_PROJECT) for _ in range(repetitions)]
        second = await jobs.trigger("second")
        before = await _succeeded(jobs, "first", first)
        await _until_succeeded(jobs, "second", second, _SHARED_RUNS)
        of_first = await _succeeded(jobs, "first", first) - before
        of_second = await _succeeded(jobs, "second", second)
        beside_two = [await installation.timed(_PROJECT) for _ in range(repetitions)]
        for job_id, job_run_id in (("first", first), ("second", second)):
            await jobs.terminate(job_id, job_run_id)
            await jobs.until_ended(job_id, job_run_id)
    table = Table(f"a Run, {machines} Machines, {repetitions} times", "p50, ms", "p95, ms", "of alone")
    for name, took in (("alone", alone), ("beside a JobRun", beside_one), ("beside two JobRuns", beside_two)):
        ratio = statistics.median(took) / statistics.median(alone)
        table.add_row(name, *(f"{percentile(took, of) * 1000:.0f}" for of in (50, 95)), f"{ratio:.2f}")
    table.add_row("Runs of a JobRun that was there, and of one that came", f"{of_first}, {of_second}")
    return table


async def _succeeded(jobs: Jobs, job_id: str, job_run_id: str) -> int:
    return (await jobs.read(job_id, job_run_id))["jobRun"]["successful_runs"] or 0


async def _until_succeeded(jobs: Jobs, job_id: str, job_run_id: str, count: int) -> None:
    async def have_succeeded() -> bool:
        return await _succeeded(jobs, job_id, job_run_id) >= count

    await wait_until(have_succeeded)


@asynccontextmanager
async def _installation(machines: int) -> AsyncGenerator[tuple[Installation, psutil.Process]]:
    """Run an installation with one worker until the block ends."""
    async with Installation.up() as installation:
        await installation.deploy(_PROJECT, QUICK, machines=machines)
        async with installation.workers(1, capacity=machines) as (worker,):
            await installation.until_held(1)
            yield installation, worker


async def _actions(installation: Installation) -> Counter[str]:
    """Return the actions of Temporal so far, once the server has added up its latest, without those of leases."""
    seen: list[Counter[str]] = []
    while len(seen) < _SETTLED_READINGS or any(reading != seen[-1] for reading in seen[-_SETTLED_READINGS:]):
        actions = (await installation.metrics.read()).actions
        seen.append(Counter({name: n for name, n in actions.items() if not name.startswith(_OF_THE_FLEET)}))
        await asyncio.sleep(0.5)
    return seen[-1]


def _check(answer: dict[str, Any], items: int) -> None:
    job_run = answer["jobRun"]
    if (job_run["status"], job_run["successful_runs"]) != ("SUCCESS", items):
        raise RuntimeError(f"a JobRun of the bench ended otherwise than it should: {job_run}")


def _memory(process: psutil.Process) -> float:
    return process.memory_full_info().uss / 1e6


_PARTS = ("throughput", "beside", "payload", "long")


async def main(given: argparse.Namespace) -> None:
    """Measure the parts one after the other, and print each table as soon as it is there."""
    for part in given.parts or _PARTS:
        match part:
            case "throughput":
                console.print(await throughput(given.rounds, given.quick, given.machines))
            case "beside":
                console.print(await beside(given.repetitions, given.machines))
            case "payload":
                console.print(await payload(given.payload))
            case _:
                console.print(await long_run(given.items, given.machines))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make bench-jobs", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*_PARTS, []], help="what to measure; by default, all of it")
    parser.add_argument("--machines", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5, help="of `throughput`")
    parser.add_argument("--quick", type=int, default=200, help="Runs of each kind in a round of `throughput`")
    parser.add_argument("--repetitions", type=int, default=50, help="of `beside`")
    parser.add_argument("--items", type=int, default=10_000, help="of `long`")
    parser.add_argument("--payload", type=int, default=100_000, help="items of `payload`")
    asyncio.run(main(parser.parse_args()))
