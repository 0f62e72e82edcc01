"""What happens while `callboard dev` runs, as lines for a person that also have fields for a program."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from temporalio.client import Client
from watchfiles import awatch  # pyright: ignore[reportUnknownVariableType]  # trio is not installed

from callboard.schemas.errors import Unavailable
from callboard.schemas.workflow.handoff import Handoff
from callboard.temporal.listing import RunListItem, list_ended, list_waiting

_LOOK_EVERY = 1.0
"""Seconds between two looks for Runs that have ended. Temporal's visibility tells nobody by itself."""
_LATE = timedelta(seconds=10)
"""How much later than its end a Run may appear in Temporal's visibility."""
_CLOSED = re.compile(r"\S+ \S+ WARNING callboard\.machines\.slot: (.*)")
"""A line of the worker's log about a Machine that another one has to replace."""


class Event(str):
    """A line for the user about something that has happened."""

    __slots__ = ("fields", "kind")
    kind: str
    """What has happened: `ready`, `deployed`, `not-deployed`, `folder-removed`, `deleted`, `run`, `handoff`,
    `machine-closed`."""
    fields: dict[str, Any]

    def __new__(cls, text: str, kind: str, **fields: Any) -> Self:
        """Return an event. The fields are JSON values."""
        event = super().__new__(cls, text)
        event.kind, event.fields = kind, fields
        return event


async def report_ended_runs(client: Client, url: str, report: Callable[[str], None]) -> None:
    """Report each Run that ends from now on, with the address of its page below `url`. Never returns.

    Checks and logins that another Run waits for are told by that Run's outcome.
    """
    since, told = datetime.now(UTC), dict[str, datetime]()
    while True:
        await asyncio.sleep(_LOOK_EVERY)
        with suppress(Unavailable):  # Temporal is being restarted
            for run in reversed(await list_ended(client, since)):
                if run.run_id not in told and run.ended_at is not None:
                    told[run.run_id] = run.ended_at
                    report(_describe(run, f"{url}/projects/{run.project}/runs/{run.run_id}"))
        since = max(since, datetime.now(UTC) - _LATE)
        told = {run_id: ended_at for run_id, ended_at in told.items() if ended_at >= since}


def _describe(run: RunListItem, page: str) -> Event:
    seconds = (run.ended_at - (run.started_at or run.created_at)).total_seconds() if run.ended_at else 0.0
    why = None if run.cause is None else f"{run.cause.code}: {' '.join(run.cause.message.split())}"
    what = run.api or f"{run.type} {run.auth_session_id}"
    line = f"{run.status:<9}  {run.project}/{what}  {seconds:.1f} s  {page}" + ("" if why is None else f"\n  {why}")
    about = {"runId": run.run_id, "project": run.project, "type": str(run.type), "api": run.api}
    about |= {"authSessionId": run.auth_session_id, "status": str(run.status)}
    return Event(line, "run", **about, attempts=run.attempts, seconds=round(seconds, 3), reason=why, url=page)


async def report_handoffs(client: Client, url: str, report: Callable[[str], None]) -> None:
    """Report each Handoff that waits for a person, with the address of the page below `url`. Never returns."""
    told = set[str]()
    while True:
        with suppress(Unavailable):  # Temporal is being restarted
            waiting = await list_waiting(client)
            for run in waiting:
                if run.handoff is not None and run.handoff.id not in told:
                    report(_describe_handoff(run, run.handoff, f"{url}/projects/{run.project}/runs/{run.run_id}"))
            told = {run.handoff.id for run in waiting if run.handoff is not None}
        await asyncio.sleep(_LOOK_EVERY)


def _describe_handoff(run: RunListItem, handoff: Handoff, page: str) -> Event:
    asked = " ".join(handoff.instructions.split())
    command = f"callboard handoffs answer {handoff.id} -p {run.project}"
    line = f"asks       {run.project}/{run.api or run.type}  {asked}  {page}\n  {command}"
    about = {"runId": run.run_id, "project": run.project, "instructions": handoff.instructions}
    return Event(line, "handoff", **about, id=handoff.id, expiresAt=handoff.expires_at.isoformat(), url=page)


async def report_closed_machines(log: Path, report: Callable[[str], None]) -> None:
    """Report each Machine that has to be replaced, as the worker's log says. Never returns."""
    async for line in _follow(log):
        with suppress(ValueError):
            record: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
            if record.get("level") == "WARNING" and record.get("logger") == "callboard.machines.slot":
                report(Event(record["message"], "machine-closed"))
        if (found := _CLOSED.match(line)) is not None:
            report(Event(found[1], "machine-closed"))


async def _follow(log: Path) -> AsyncGenerator[str]:
    """Yield the lines that are added to a log from now on. A log that is moved aside is followed in its new file."""
    position, rest = await asyncio.to_thread(_size, log), ""
    async for _ in awatch(log.parent, watch_filter=lambda _, path: Path(path) == log):
        added, position = await asyncio.to_thread(_read_from, log, position)
        *lines, rest = (rest + added).split("\n")
        for line in lines:
            yield line


def _size(log: Path) -> int:
    return log.stat().st_size


def _read_from(log: Path, position: int) -> tuple[str, int]:
    """Return what stands behind a position, and where that ends. A file that is smaller is a new one."""
    with log.open("rb") as file:
        file.seek(position if position <= _size(log) else 0)
        return file.read().decode(errors="replace"), file.tell()
