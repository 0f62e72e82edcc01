"""`make soak`: thousands of Attempts that end in every way, and what the worker and the api hold on to afterwards.

Read the slope, not single figures: memory wanders by some megabytes from round to round.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from dataclasses import fields
from pathlib import Path

from rich.table import Table

from callboard.projects.languages import Language
from tests.bench.output import console
from tests.support.soak import MIX, Holding, Soak

ROUND = sum(kind.runs * kind.attempts for kind in MIX)
"""Number of Attempts in one round of the mix."""


async def main(attempts: int, language: Language) -> None:
    """Execute the rounds, measure after each of them, and print the results."""
    seen: list[Holding] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="callboard-soak-") as folder:
        async with Soak.up(Path(folder), language) as soak:
            for number in range(max(3, round(attempts / ROUND))):
                await soak.round(number)
                seen.append(await soak.settle())
                console.print(
                    f"{(number + 1) * ROUND} Attempts, {time.monotonic() - began:.0f} s: worker"
                    f" {seen[-1].worker_memory:.1f} MB, api {seen[-1].api_memory:.1f} MB"
                )
            zombies = len(soak.zombies())
    table = Table(
        "at rest, every Machine warm", f"after {ROUND} Attempts", f"after {len(seen) * ROUND}", "a thousand add"
    )
    for field in fields(Holding):
        values = [getattr(each, field.name) for each in seen]
        # The first round loads code and fills caches, so the slope is that of the other rounds.
        slope = statistics.linear_regression(range(1, len(values)), values[1:]).slope * 1000 / ROUND
        table.add_row(field.name.replace("_", " "), f"{values[0]:.4g}", f"{values[-1]:.4g}", f"{slope:+.2f}")
    console.print(table)
    console.print(f"memory in MB; zombies: {zombies}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--attempts", type=int, default=3000)
    parser.add_argument("--language", type=Language, choices=list(Language), default=Language.PYTHON)
    given = parser.parse_args()
    asyncio.run(main(given.attempts, given.language))
