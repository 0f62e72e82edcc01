"""`make bench`: one table, from interleaved rounds on one machine. Quote ratios and medians, never single figures."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import statistics
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import psutil
from playwright.async_api import async_playwright
from rich.console import Console
from rich.table import Table
from temporalio.client import Client

from callboard.dev import ports
from tests.bench.bare import COLD, TRACED, WARM, ReadWorkflow
from tests.bench.callboard import ENDINGS, Callboard
from tests.bench.processor import KINDS, Usage
from tests.bench.reading import launch, read
from tests.bench.rows import Row
from tests.bench.servers import process, temporal_as_it_comes, temporal_tuned

console = Console()
_TURNS = 4
"""Turns in which each way executes its part of the Runs whose processor time is measured."""


async def main(rounds: int, repetitions: int, starts: int, cancels: int, metered: int) -> None:
    """Start all processes, measure, print the results, and stop all processes."""
    async with AsyncExitStack() as resources:
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="callboard-bench-")))
        site = ports.choose_ports({"site": 0})["site"]
        url = f"http://127.0.0.1:{site}/"
        await resources.enter_async_context(process("-m", "tests.bench.site", str(site)))
        await _until_served(url)
        browser = await launch(await resources.enter_async_context(async_playwright()))
        resources.push_async_callback(browser.close)
        plain = await resources.enter_async_context(temporal_as_it_comes())
        await resources.enter_async_context(process("-m", "tests.bench.bare", plain))
        others = _children()
        tuned = (await resources.enter_async_context(temporal_tuned(folder / "tuned"))).address
        await resources.enter_async_context(process("-m", "tests.bench.bare", tuned))
        of_limit = _children() - others
        callboard = await resources.enter_async_context(Callboard.up(folder / "callboard", url))
        of_callboard = _children() - others - of_limit
        await callboard.log_in()
        rows = [
            Row("(a) plain Playwright loop, warm browser", lambda: read(browser, url)),
            Row("(b) bare Temporal, server as it comes", _bare(await Client.connect(plain), WARM, url)),
            Row("(c) bare Temporal, server tuned: the limit", _bare(await Client.connect(tuned), WARM, url)),
            Row("(d) bare Temporal, a browser for each", _bare(await Client.connect(tuned), COLD, url), share=0.25),
            Row("(e) Callboard through REST, trace off", callboard.once),
            Row("(f) the same, with a login that is validated first", callboard.once_logged_in, share=0.5),
            Row(
                "(g) bare Temporal as (c), trace on: the limit of (h)", _bare(await Client.connect(tuned), TRACED, url)
            ),
            Row("(h) Callboard through REST, trace on", callboard.once_traced),
        ]
        for number in range(rounds):
            for row in rows:
                console.print(f"round {number + 1} of {rounds}: {row.name}", style="dim")
                await row.round(repetitions)
        _print_table(rows)
        limit, untraced, limit_traced, traced = (rows[index] for index in (2, 4, 6, 7))
        usages = [
            *(Usage(row.name, row.once, of_limit) for row in (limit, limit_traced)),
            *(Usage(row.name, row.once, of_callboard) for row in (untraced, traced)),
        ]
        await _print_processor(usages, metered)
        await _print_rest(callboard, starts, cancels)
        await _print_bodies(callboard)


def _bare(client: Client, queue: str, url: str) -> Callable[[], Awaitable[object]]:
    async def once() -> object:
        return await client.execute_workflow(ReadWorkflow.run, url, id=secrets.token_hex(8), task_queue=queue)

    return once


async def _until_served(url: str) -> None:
    async with asyncio.timeout(30), httpx.AsyncClient(trust_env=False) as client:
        while True:
            try:
                await client.get(url)
            except httpx.TransportError:
                await asyncio.sleep(0.02)
            else:
                return


def _print_table(rows: list[Row]) -> None:
    def named(name: str) -> Row:
        return next(row for row in rows if row.name.startswith(name))

    table = Table(
        "row", "per second, 4 at a time", "of its limit", "p50 at rest, ms", "of its limit", "p50 in a row, ms"
    )
    for row in rows:
        limit = named("(g)" if row.name.startswith(("(g)", "(h)")) else "(c)")
        table.add_row(
            row.name,
            f"{row.per_second:.2f}",
            f"{row.per_second / limit.per_second:.2f}",
            f"{row.p50:.0f}",
            f"{row.p50 / limit.p50:.2f}",
            f"{row.p50_in_a_row:.0f}",
        )
    console.print(table)


def _children() -> frozenset[psutil.Process]:
    return frozenset(psutil.Process().children())


async def _print_processor(ways: list[Usage], runs: int) -> None:
    for _ in range(_TURNS):
        for way in ways:
            await way.measure(runs // _TURNS)
    table = Table(f"processor milliseconds of a Run, mean of {runs}", *(way.name.partition(" ")[0] for way in ways))
    for kind in KINDS:
        table.add_row(kind, *(f"{way.milliseconds(kind):.1f}" for way in ways))
    table.add_row("all", *(f"{way.milliseconds():.0f}" for way in ways))
    console.print(table)


async def _print_rest(callboard: Callboard, starts: int, cancels: int) -> None:
    table = Table("Callboard", "p50", "p99")
    accepted, run_ids = await callboard.accept(starts)
    table.add_row(f"accept a start, of {starts} in a row, ms", *_percentiles(accepted))
    handovers = callboard.handovers(run_ids)
    table.add_row("a Machine is free until it is taken, while Runs wait, ms", *_percentiles(handovers))
    stopped = [await callboard.cancel() for _ in range(cancels)]
    table.add_row(f"cancel to nothing left, of {cancels}, ms", *_percentiles(stopped))
    following: dict[str, list[float]] = {ending: [] for ending in ENDINGS}
    for _ in range(cancels):
        for ending, took in following.items():
            took.append(await callboard.after(ending))
    for ending, took in following.items():
        table.add_row(f"a Run right after {ending}, on the same place, of {cancels}, ms", *_percentiles(took))
    table.add_row("memory of a warm Machine, MB (proportional)", f"{await callboard.memory_per_machine():.0f}", "")
    table.add_row("memory of the worker, MB (proportional)", f"{callboard.memory_of_worker():.0f}", "")
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
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repetitions", type=int, default=40, help="of each row in a round")
    parser.add_argument("--starts", type=int, default=1000)
    parser.add_argument("--cancels", type=int, default=50)
    parser.add_argument("--metered", type=int, default=100, help="Runs of each way whose processor time is measured")
    given = parser.parse_args()
    asyncio.run(main(given.rounds, given.repetitions, given.starts, given.cancels, given.metered))
