"""What `callboard dev` tells of Machines, from what the worker logs."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from callboard.dev.events import Event, report_closed_machines
from tests.support.polling import until

Form = Callable[[str, str, str], str]
CLOSED = "Machine shop-1-1 is closed: its process has ended"


def as_text(level: str, logger: str, message: str) -> str:
    return f"2026-11-29 02:10:10,580 {level} {logger}: {message}\n"


def as_json(level: str, logger: str, message: str) -> str:
    return json.dumps({"time": "2026-11-29", "level": level, "logger": logger, "message": message}) + "\n"


@pytest.mark.parametrize("form", [as_text, as_json])
async def test_machines_that_are_replaced_are_told_and_nothing_else(tmp_path: Path, form: Form):
    log = tmp_path / "worker.log"
    log.write_text(form("WARNING", "callboard.machines.slot", "before it began"))
    told: list[str] = []
    following = asyncio.create_task(report_closed_machines(log, told.append))
    try:
        # The watch may begin after the first line, which the second one then brings.
        async def written() -> bool:
            with log.open("a") as file:
                file.write(form("INFO", "callboard.machines.slot", "is closed as it is idle"))
                file.write(form("WARNING", "callboard.machines.pool", "another warning"))
                file.write(form("WARNING", "callboard.machines.slot", CLOSED))
            return bool(told)

        await until(written, every=0.2)
        log.write_text(form("WARNING", "callboard.machines.slot", "in a new file"))
        await until(lambda: "in a new file" in told)
    finally:
        following.cancel()
        await asyncio.wait({following})
    assert set(told) == {CLOSED, "in a new file"}
    assert all(isinstance(line, Event) and line.kind == "machine-closed" for line in told)
