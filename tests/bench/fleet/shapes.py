"""What Runs of several shapes write into Temporal: events, actions and bytes; and what a million of them need."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from rich.table import Table
from temporalio.client import WorkflowExecutionStatus

from callboard.schemas.workflow import names
from callboard.settings import Settings
from tests.bench.concurrency import for_each
from tests.bench.fleet.installation import QUICK, Installation, wait_until
from workflows.fleet import RENEW_INTERVAL

_FAILING = {"api/work.py": "async def automation(page, params=None, **_kwargs):\n    raise ValueError('it fails')\n"}
_LONG_SECONDS = 20
_LONG = {
    "api/work.py": f"""import asyncio


async def automation(page, params=None, **_kwargs):
    await asyncio.sleep({_LONG_SECONDS})
"""
}
_LOGIN = {
    **QUICK,
    "auth-sessions/create.py": "async def create(page, params, **_kwargs):\n    pass\n",
    "auth-sessions/check.py": "async def check(page, **_kwargs):\n    return True\n",
}
_MACHINES = 4
_ITEMS = 100
_AUTH_SESSION = "bench"
_READ_EVERY = 0.5
_READINGS = 6
"""Readings in a row that must be the same, so that nothing is missing."""
_MILLION = 1_000_000
_MONTH = timedelta(days=30)
_OF_THE_FLEET = frozenset(
    {"message_UpdateWorkflowExecution_Acceptance", "grpc_ExecuteMultiOperation", "grpc_QueryWorkflow"}
)
"""Actions of leases, which do not depend on Runs."""


@dataclass(frozen=True, eq=False)
class Shape:
    """A kind of Run."""

    name: str
    project: str
    body: dict[str, Any] = field(default_factory=dict[str, Any])
    items: int = 0
    """How many items a JobRun has whose Runs these are; 0 if clients start them."""


@dataclass(frozen=True)
class Written:
    """What one Run has written, on average."""

    workflows: float
    events: float
    size: float
    """Bytes of all histories."""
    actions: Mapping[str, float]
    """Actions as Temporal counts them, by type."""


async def measure(runs: int) -> list[Table]:
    """Return a table of what a Run writes, and one of what a million Runs a month need, computed from it."""
    async with _receiver() as url, Installation.up() as installation:
        await installation.deploy("plain", QUICK, machines=_MACHINES)
        await installation.deploy("variables", QUICK, machines=_MACHINES)
        variable = await installation.http.put("/variables/env-vars/SHOP_KEY", json={"value": "x" * 20, "secret": True})
        variable.raise_for_status()
        await installation.deploy("failing", _FAILING, machines=_MACHINES)
        await installation.deploy("long", _LONG, machines=_MACHINES)
        await installation.deploy("login", _LOGIN, machines=_MACHINES, authSessions={"enabled": True, "type": "API"})
        shapes = [
            Shape("plain", "plain"),
            Shape("with a variable", "variables"),
            Shape("with a trace", "plain", {"saveTrace": True}),
            Shape("with parameters of 10 kB", "plain", {"parameters": {"text": "x" * 10_000}}),
            Shape(f"{_LONG_SECONDS} s long", "long"),
            Shape("three Attempts, all failed", "failing", {"retry": {"maximumAttempts": 3}}),
            Shape("with a sink", "plain", {"sink": {"type": "webhook", "url": url}}),
            Shape("with a login that is checked", "login", {"authSession": {"id": _AUTH_SESSION}}),
            Shape(f"of a JobRun of {_ITEMS} items", "plain", items=_ITEMS),
        ]
        async with installation.workers(1, capacity=_MACHINES):
            await installation.until_held(5)
            await _log_in(installation)
            written = {shape: await _execute(installation, shape, runs) for shape in shapes}
            workflows, _, size = await _totals(installation)
            stored = _stored(installation) / workflows
    caption = (
        f"The database has {stored:.0f} bytes for each of {workflows} workflows, {size / workflows:.0f} of history"
    )
    return [_table_of_runs(written, caption), _table_of_a_million(written)]


async def _execute(installation: Installation, shape: Shape, runs: int) -> Written:
    ended: list[str] = []

    async def once(_: int) -> None:
        result = await installation.result(shape.project, await installation.start(shape.project, **shape.body))
        ended.append(result["status"])

    async def execute(count: int, items: int = 0) -> tuple[tuple[int, int, int], Counter[str]]:
        """Execute Runs, or a JobRun, and return the totals after them."""
        if items:
            ended.append(await _execute_job_run(installation, shape, items))
        else:
            await for_each(range(count), once, at_once=_MACHINES)
        await wait_until(lambda: _all_closed(installation))
        actions = await _settled_actions(installation)
        return await _totals(installation), actions

    before, counted = await execute(_MACHINES)  # now all Machines are warm
    after, actions = await execute(runs, shape.items)
    if set(ended) != {"failed" if shape.project == "failing" else "completed"}:
        raise RuntimeError(f"Runs of the bench ended otherwise than they should: {Counter(ended)}")
    actions.subtract(counted)
    divided = shape.items or runs
    workflows, events, size = ((now - then) / divided for now, then in zip(after, before, strict=True))
    by_type = {name: count / divided for name, count in actions.items() if count > 0}
    return Written(workflows, events, size, by_type)


async def _execute_job_run(installation: Installation, shape: Shape, items: int) -> str:
    """Execute a Job of so many items once, and return how its JobRun has ended."""
    jobs = f"/{shape.project}/jobs"
    job = {
        "id": "bench",
        "configuration": {"maxConcurrentRequests": _MACHINES},
        "payload": [{"apiName": "work", "parameters": {}}] * items,
    }
    (await installation.http.post(jobs, json=job)).raise_for_status()
    triggered = (await installation.http.post(f"{jobs}/bench/trigger")).raise_for_status().json()
    address = f"{jobs}/bench/runs/{triggered['jobRunId']}"
    found: dict[str, Any] = {}

    async def has_ended() -> bool:
        found.update((await installation.http.get(address)).raise_for_status().json()["jobRun"])
        return found["end_time"] is not None

    await wait_until(has_ended)
    return "completed" if found["successful_runs"] == items else str(found["status"])


def _stored(installation: Installation) -> int:
    """Return how many bytes the database file has, without pages that are free again."""
    with closing(sqlite3.connect(f"file:{installation.folder / 'temporal.db'}?mode=ro", uri=True)) as database:
        pages, free, size = (
            database.execute(f"PRAGMA {pragma}").fetchone()[0]
            for pragma in ("page_count", "freelist_count", "page_size")
        )
    return (pages - free) * size


_OF_RUNS = f"WorkflowType != '{names.FLEET}' AND WorkflowType != '{names.AUTH_SESSION}'"


async def _all_closed(installation: Installation) -> bool:
    return (await installation.client.count_workflows(f"{_OF_RUNS} AND ExecutionStatus = 'Running'")).count == 0


async def _totals(installation: Installation) -> tuple[int, int, int]:
    """Return the number of workflows, of their events, and of the bytes of their histories, without the fleet's own."""
    workflows = events = size = 0
    async for listed in installation.client.list_workflows(f"WorkflowType != '{names.FLEET}'"):
        info = listed.raw_info
        if listed.status is WorkflowExecutionStatus.RUNNING:  # lists know the history of closed ones only
            handle = installation.client.get_workflow_handle(listed.id, run_id=listed.run_id)
            info = (await handle.describe()).raw_info
        workflows += 1
        events += info.history_length
        size += info.history_size_bytes
    return workflows, events, size


async def _settled_actions(installation: Installation) -> Counter[str]:
    """Return the actions of all Runs, once the server has added up its latest: it does so now and then."""
    seen: list[Counter[str]] = []
    while len(seen) < _READINGS or any(reading != seen[-1] for reading in seen[-_READINGS:]):
        actions = (await installation.metrics.read()).actions
        seen.append(Counter({name: count for name, count in actions.items() if name not in _OF_THE_FLEET}))
        await asyncio.sleep(_READ_EVERY)
    return seen[-1]


async def _log_in(installation: Installation) -> None:
    sessions = "/login/auth-sessions"
    answer = await installation.http.post(f"{sessions}/create", json={"id": _AUTH_SESSION, "parameters": {}})
    answer.raise_for_status()
    result = f"{sessions}/create/{answer.json()['operationId']}/result"

    async def is_done() -> bool:
        status = (await installation.http.get(result)).json()["status"]
        if status in ("failed", "canceled"):
            raise RuntimeError(f"the login of the bench is {status}")
        return status == "done"

    await wait_until(is_done)


@asynccontextmanager
async def _receiver() -> AsyncGenerator[str]:
    """Accept webhooks until the block ends, and yield where."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
        )
        await reader.readexactly(length)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


def _table_of_runs(written: Mapping[Shape, Written], caption: str) -> Table:
    table = Table("one Run", "workflows", "events", "bytes of history", "actions", "of these", caption=caption)
    for shape, each in written.items():
        table.add_row(
            shape.name,
            f"{each.workflows:.1f}",
            f"{each.events:.1f}",
            f"{each.size:.0f}",
            f"{sum(each.actions.values()):.1f}",
            ", ".join(f"{count:.1f} {_words(name)}" for name, count in sorted(each.actions.items())),
        )
    return table


def _words(action: str) -> str:
    """Make `schedule activity task` of `command_ScheduleActivityTask`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", action.partition("_")[2]).replace("_", ", ").lower()


def _table_of_a_million(written: Mapping[Shape, Written]) -> Table:
    retention = Settings().run_retention
    table = Table(
        "a million Runs a month, computed",
        "events, millions",
        "actions, millions",
        f"GB of history, kept {retention.days} days",
        title=f"{_MILLION / _MONTH.total_seconds():.2f} Runs a second if they come evenly; "
        f"for its lease, each worker adds {_MONTH / RENEW_INTERVAL / _MILLION:.2f} million actions a month",
    )
    for shape, each in written.items():
        # A Run's history is kept from its start on, which is short, until the retention after its end is over.
        kept = each.size * _MILLION * (retention / _MONTH) / 1e9
        table.add_row(shape.name, f"{each.events:.1f}", f"{sum(each.actions.values()):.1f}", f"{kept:.1f}")
    return table
