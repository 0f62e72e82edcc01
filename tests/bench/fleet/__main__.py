"""`make bench-fleet`: tables about a fleet of workers on this host. Leave the machine alone meanwhile.

Quote ratios and medians: Temporal, api, workers and browsers share the host's processors.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncGenerator, Callable

from rich.table import Table

from tests.bench.fleet import idle, leases, neighbors, pending, shapes, throughput
from tests.bench.output import console


async def _throughput(given: argparse.Namespace) -> AsyncGenerator[Table]:
    yield await throughput.measure(given.workers, given.machines, given.seconds)


async def _pending(given: argparse.Namespace) -> AsyncGenerator[Table]:
    yield await pending.measure(given.runs, given.repetitions)


async def _idle(given: argparse.Namespace) -> AsyncGenerator[Table]:
    yield await idle.measure((1, given.projects // 5, given.projects), given.seconds)


async def _neighbors(given: argparse.Namespace) -> AsyncGenerator[Table]:
    yield await neighbors.measure(given.workers, given.projects, given.repetitions)


async def _leases(given: argparse.Namespace) -> AsyncGenerator[Table]:
    for workers, projects in leases.SIZES:
        yield await leases.measure(workers, projects, given.in_flight)


async def _shapes(given: argparse.Namespace) -> AsyncGenerator[Table]:
    for table in await shapes.measure(given.shaped):
        yield table


_PARTS: dict[str, Callable[[argparse.Namespace], AsyncGenerator[Table]]] = {
    "throughput": _throughput,
    "pending": _pending,
    "idle": _idle,
    "neighbors": _neighbors,
    "leases": _leases,
    "shapes": _shapes,
}


async def main(given: argparse.Namespace) -> None:
    """Measure the parts one after the other, and print each table as soon as it is there."""
    for part in given.parts or _PARTS:
        async for table in _PARTS[part](given):
            console.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make bench-fleet", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*_PARTS, []], help="what to measure; by default, all of it")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--machines", type=int, default=4, help="of each worker, in `throughput`")
    parser.add_argument("--seconds", type=float, default=30, help="that `throughput` and `idle` measure for")
    parser.add_argument("--runs", type=int, default=10_000, help="that are pending")
    parser.add_argument("--projects", type=int, default=1000, help="at most, in `idle` and `neighbors`")
    parser.add_argument("--repetitions", type=int, default=100, help="of each request, and of Runs in `neighbors`")
    parser.add_argument(
        "--in-flight", type=int, default=10, help="updates of a workflow, in `leases`; 10 is Temporal's"
    )
    parser.add_argument("--shaped", type=int, default=8, help="Runs of each shape in `shapes`")
    asyncio.run(main(parser.parse_args()))
