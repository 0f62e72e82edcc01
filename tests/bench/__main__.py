"""`make bench`: Callboard beside a bare loop (`tests/bench/bare.py`), by turns in one run on one machine.

Quote ratios and medians, never single figures.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import statistics
import tempfile
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import httpx
import psutil
from rich.table import Table
from temporalio.client import Client

from callboard.dev import ports
from tests.bench.bare import STARTED, TRACED, UNTRACED, ReadWorkflow
from tests.bench.callboard import ENDINGS, PYTHON, TYPESCRIPT, Callboard
from tests.bench.output import console
from tests.bench.processor import KINDS, Usage
from tests.bench.rows import Row, median_ratio
from tests.bench.servers import process, temporal_tuned
from tests.bench.starts import PER_SECOND, Starts

_VIEWERS = 20
_TURNS = 4
"""Turns in which each way executes its part of the Runs whose processor time is measured, and makes its starts."""


async def main(given: argparse.Namespace) -> None:
    """Start all processes, measure, print the results, and stop all processes."""
    async with AsyncExitStack() as resources:
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="callboard-bench-")))
        site = ports.choose_ports({"site": 0})["site"]
        url = f"http://127.0.0.1:{site}/"
        await resources.enter_async_context(process("-m", "tests.bench.site", str(site)))
        await _until_served(url)
        others = _children()
        temporal = (await resources.enter_async_context(temporal_tuned(folder / "bare"))).address
        await resources.enter_async_context(process("-m", "tests.bench.bare", temporal))
        client = await Client.connect(temporal)
        of_limit = _children() - others
        callboard = await resources.enter_async_context(Callboard.up(folder / "callboard", url))
        of_callboard = _children() - others - of_limit
        await callboard.log_in()
        limit = Row("bare loop: the limit", partial(_read, client, UNTRACED, url))
        traced_limit = Row("bare loop, trace on: the limit", partial(_read, client, TRACED, url))
        untraced = Row("Callboard, trace off", callboard.once, limit)
        typescript = Row("Callboard, trace off, in TypeScript", partial(callboard.once, TYPESCRIPT), limit)
        traced = Row("Callboard, trace on", callboard.once_traced, traced_limit)
        logged_in = Row("Callboard, trace off, a login that is validated first", callboard.once_logged_in, limit)
        rows = [limit, untraced, typescript, logged_in, traced_limit, traced]
        for number in range(given.rounds):
            for row in rows:
                console.print(f"round {number + 1} of {given.rounds}: {row.name}", style="dim")
                await row.round(given.repetitions)
        _print_rows(rows)
        usages = [
            *(Usage(row.name, row.once, of_limit) for row in (limit, traced_limit)),
            *(Usage(row.name, row.once, of_callboard) for row in (untraced, typescript, traced)),
        ]
        await _print_processor(usages, given.metered)
        await _print_rest(callboard, given.queued, given.cancels)
        await _print_live(callboard, given.inputs)
        await _print_bodies(callboard)
        # What is started here is executed by nobody, so this comes last.
        await callboard.occupy()
        bare = Starts("bare start_workflow: the limit", partial(_start, client, url))
        await _print_starts(bare, Starts("Callboard, until it is accepted", callboard.start), given.starts)


async def _read(client: Client, queue: str, url: str) -> None:
    await client.execute_workflow(ReadWorkflow.run, url, id=secrets.token_hex(8), task_queue=queue)


async def _start(client: Client, url: str) -> None:
    await client.start_workflow(ReadWorkflow.run, url, id=secrets.token_hex(8), task_queue=STARTED)


async def _until_served(url: str) -> None:
    async with asyncio.timeout(30), httpx.AsyncClient(trust_env=False) as client:
        while True:
            try:
                await client.get(url)
            except httpx.TransportError:
                await asyncio.sleep(0.02)
            else:
                return


def _print_rows(rows: list[Row]) -> None:
    table = Table(
        "row", "per second, 4 at a time", "of its limit", "p50 at rest, ms", "of its limit", "p50 in a row, ms"
    )
    for row in rows:
        limit = row.limit or row
        table.add_row(
            row.name,
            f"{statistics.median(row.per_second):.2f}",
            f"{median_ratio(row.per_second, limit.per_second):.2f}",
            f"{statistics.median(row.at_rest) * 1000:.0f}",
            f"{median_ratio(row.at_rest, limit.at_rest):.2f}",
            f"{statistics.median(row.in_a_row) * 1000:.0f}",
        )
    console.print(table)


async def _print_starts(limit: Starts, callboard: Starts, starts: int) -> None:
    ways = (limit, callboard)
    for way in ways:
        await way.turn(PER_SECOND)  # It warms up.
        way.took.clear()
    for _ in range(_TURNS):
        for way in ways:
            await way.turn(starts // _TURNS)
    table = Table(f"{starts} starts, {PER_SECOND} a second", "p50, ms", "of the limit", "p99, ms", "refused")
    for way in ways:
        p50, p99 = _percentiles([seconds for turn in way.took for seconds in turn])
        table.add_row(way.name, p50, f"{median_ratio(way.medians, limit.medians):.2f}", p99, str(way.refused))
    console.print(table)


def _children() -> frozenset[psutil.Process]:
    return frozenset(psutil.Process().children())


async def _print_processor(ways: list[Usage], runs: int) -> None:
    for _ in range(_TURNS):
        for way in ways:
            await way.measure(runs // _TURNS)
    table = Table("processor milliseconds of a Run", *(way.name for way in ways))
    for kind in KINDS:
        table.add_row(kind, *(f"{way.milliseconds(kind):.1f}" for way in ways))
    table.add_row("all", *(f"{way.milliseconds():.0f}" for way in ways))
    table.add_row("Runs that were counted", *(str(way.runs) for way in ways))
    console.print(table)


async def _print_rest(callboard: Callboard, queued: int, cancels: int) -> None:
    table = Table("Callboard", "p50", "p99")
    handovers = await callboard.handovers(queued)
    table.add_row("a Machine is free until it is taken, while Runs wait, ms", *_percentiles(handovers))
    stopped = [await callboard.cancel() for _ in range(cancels)]
    table.add_row(f"cancel to nothing left, of {cancels}, ms", *_percentiles(stopped))
    following: dict[str, list[float]] = {ending: [] for ending in ENDINGS}
    for _ in range(cancels):
        for ending, took in following.items():
            took.append(await callboard.after(ending))
    for ending, took in following.items():
        table.add_row(f"a Run right after {ending}, on the same place, of {cancels}, ms", *_percentiles(took))
    for project in (PYTHON, TYPESCRIPT):
        memory = await callboard.memory_per_machine(project)
        table.add_row(f"memory of a warm Machine of {project}, MB (proportional)", f"{memory:.0f}", "")
    table.add_row("memory of the worker, MB (proportional)", f"{callboard.memory_of_worker():.0f}", "")
    console.print(table)


async def _print_live(callboard: Callboard, inputs: int) -> None:
    table = Table("a live view", "p50", "p99")
    table.add_row(
        "an input to the picture that shows it, ms", *_percentiles(await callboard.seconds_to_pictures(inputs))
    )
    beside: dict[int, list[float]] = {viewers: [] for viewers in (0, _VIEWERS)}
    for _ in range(_TURNS):
        for viewers, took in beside.items():
            took += await callboard.beside_viewers(viewers, inputs // _TURNS)
    for viewers, took in beside.items():
        table.add_row(f"a Run of another project, while {viewers} watch, ms", *_percentiles(took))
    console.print(table)


async def _print_bodies(callboard: Callboard) -> None:
    table = Table("the worst body of", "answer", "after, ms", "the longest /healthz meanwhile, ms")
    for name, status, took, waited in await callboard.worst_bodies():
        table.add_row(name, str(status), f"{took * 1000:.0f}", f"{waited * 1000:.0f}")
    console.print(table)


def _percentiles(seconds: list[float]) -> tuple[str, str]:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return f"{cuts[49] * 1000:.0f}", f"{cuts[98] * 1000:.0f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--repetitions", type=int, default=20, help="of each row in a round")
    parser.add_argument("--metered", type=int, default=100, help="Runs of each way whose processor time is measured")
    parser.add_argument("--queued", type=int, default=200, help="Runs that wait for each other's Machines")
    parser.add_argument("--cancels", type=int, default=50)
    parser.add_argument("--inputs", type=int, default=40, help="to a page that is watched")
    parser.add_argument("--starts", type=int, default=400, help="of each way")
    asyncio.run(main(parser.parse_args()))
