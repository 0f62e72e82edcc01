"""One piece of a JobRun: keep a window of Runs in flight, and collect what has ended.

A piece that is tried again begins with the same progress as its first try, and starts the same Runs. Those that exist
already it finds as they are by then. Only the progress that a piece returns counts. Another try may hear of the ends of
Runs in another order, so later pieces execute what Runs add to the payload.

Each Run that has ended is a line of the results (docs/contract.md, section 17). What user code returned is inserted
there as text, without being parsed.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from itertools import batched
from typing import Any

from activities.jobs.item_runs import STORE_TIMEOUT, ItemRuns, JobItems
from activities.store_retry import retry_store
from callboard.machines.uncancellable import uncancellable
from callboard.schemas.rest.attempt import attempt_path
from callboard.schemas.rest.run_result import cause_json
from callboard.schemas.timestamps import utc_text
from callboard.schemas.workflow.base import JsonRef
from callboard.schemas.workflow.job_run import JobItemsInput, JobItemsMode, JobItemsResult, JobRunPlan, JobRunProgress
from callboard.schemas.workflow.run import ReasonType, RunOutcome, RunStatus
from callboard.storage import object_keys
from callboard.storage.job_payloads import JobItem
from callboard.storage.raw_json import RawJson, dump_object, read_json
from callboard.storage.store import Store

log = logging.getLogger(__name__)

_LONGEST = 600.0
"""Seconds after which a piece returns in which nothing has ended."""
_AFTER_END = 3.0
"""Seconds for which a piece goes on after the first Run in it has ended."""
_AFTER_LAST_ITEM = 0.2
"""Seconds for which it goes on then if it could start only items that Runs have added in it."""
_MAX_ENDS = 200
"""How many Runs end in one piece."""
_MAX_BYTES = 16 * 1024 * 1024
"""How many bytes of results one piece collects, about: they are held in memory until they are stored."""
_CONCURRENT_CALLS = 10
"""How many Runs are started, looked for or canceled at the same time."""

_TRIES = 1_000_000
"""More tries than one piece can have: a shard is named after the piece and its try, and the last one counts."""


class Piece:
    """One try of one piece."""

    def __init__(
        self, input: JobItemsInput, plan: JobRunPlan, runs: ItemRuns, store: Store, *, try_number: int
    ) -> None:
        self._input = input
        self._plan = plan
        self._runs = runs
        self._store = store
        self._try_number = input.piece * _TRIES + try_number
        self._items = JobItems(plan, store)
        progress = input.progress
        self._next = progress.next
        self._limit = progress.total if plan.max_runs is None else min(progress.total, plan.max_runs)
        """The first item that this piece may not start."""
        self._in_flight: dict[int, asyncio.Task[None]] = {}
        self._ends: deque[tuple[int, RunOutcome | Exception]] = deque()
        """Ends of Runs that have not been collected yet."""
        self._lines: list[bytes] = []
        self._size = 0
        self._succeeded = 0
        self._added: list[JobItem] = []
        self._is_login_bad = False
        self._is_stopped = False
        self._news = asyncio.Event()
        """Is set when a Run has ended, or the piece was stopped."""

    def stop(self) -> None:
        """Have the piece return what it has done so far."""
        self._is_stopped = True
        self._news.set()

    async def execute(self) -> JobItemsResult:
        """Execute the piece, and store its results and the items that were added.

        Raises:
            StoreError: The store has failed for long.
            RPCError: Temporal refuses what is asked of it.
        """
        try:
            self._watch(self._input.progress.in_flight)
            if self._input.follows_lost_piece and self._input.mode is not JobItemsMode.RUN:
                await self._find_started()
            if self._input.mode is JobItemsMode.TERMINATE and (self._input.is_first or self._input.follows_lost_piece):
                await _for_each(sorted(self._in_flight), self._runs.terminate)
            await self._slide()
            return await self._finish()
        finally:
            for task in self._in_flight.values():
                task.cancel()
            await uncancellable(asyncio.gather(*self._in_flight.values(), return_exceptions=True))

    async def _slide(self) -> None:
        """Start Runs and collect those that have ended, until the piece is over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _LONGEST
        while True:
            await self._fill()
            if self._is_over() or loop.time() >= deadline:
                return
            await self._wait(deadline - loop.time())
            had_ended = bool(self._lines)
            await self._collect()
            if self._lines and not had_ended:
                deadline = min(deadline, loop.time() + _AFTER_END)
            if self._waits_for_added_items():
                deadline = min(deadline, loop.time() + _AFTER_LAST_ITEM)

    def _is_over(self) -> bool:
        return (
            self._is_stopped
            or self._is_login_bad
            or not self._in_flight
            or (self._input.is_first and self._input.mode is JobItemsMode.RUN)
            or len(self._lines) >= _MAX_ENDS
            or self._size >= _MAX_BYTES
        )

    def _waits_for_added_items(self) -> bool:
        """Tell whether another Run could be started now, but only in the next piece."""
        total = self._input.progress.total + len(self._added)
        limit = total if self._plan.max_runs is None else min(total, self._plan.max_runs)
        return (
            self._input.mode is JobItemsMode.RUN
            and self._limit <= self._next < limit
            and len(self._in_flight) < self._plan.window
        )

    async def _fill(self) -> None:
        """Start Runs until as many are in flight as may be."""
        while self._input.mode is JobItemsMode.RUN and not self._is_stopped and not self._is_login_bad:
            count = min(self._plan.window - len(self._in_flight), self._limit - self._next, _CONCURRENT_CALLS)
            if count <= 0:
                return
            numbers = range(self._next, self._next + count)
            await _for_each(numbers, self._start)
            self._next += count
            self._watch(numbers)

    async def _start(self, number: int) -> None:
        await self._runs.start(number, await retry_store(STORE_TIMEOUT, lambda: self._items.get(number)))

    async def _find_started(self) -> None:
        """Find the Runs that a lost piece has started: they follow each other, but for a few that it was starting.

        Those between them are started, too, so that the next item is the one behind all of them. If the JobRun is to be
        terminated, they are left out instead.
        """
        found: list[int] = []
        begin = self._next
        while begin < self._limit:
            numbers = range(begin, min(begin + _CONCURRENT_CALLS, self._limit))
            exist = await asyncio.gather(*(self._runs.exists(number) for number in numbers))
            if not any(exist):
                break
            found += [number for number, is_there in zip(numbers, exist, strict=True) if is_there]
            begin = numbers.stop
        if not found:
            return
        between = sorted({*range(self._next, found[-1])} - {*found})
        if self._input.mode is JobItemsMode.DRAIN:
            await _for_each(between, self._start)
            found += between
        self._watch(sorted(found))
        self._next = max(found) + 1

    def _watch(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._in_flight[number] = asyncio.create_task(self._wait_for_end(number))

    async def _wait_for_end(self, number: int) -> None:
        try:
            end = await self._runs.wait(number)
        except Exception as error:  # noqa: BLE001 - whatever it is, the piece raises it
            end = error
        self._ends.append((number, end))
        self._news.set()

    async def _wait(self, timeout: float) -> None:
        """Wait until a Run has ended, or the piece was stopped."""
        try:
            async with asyncio.timeout(timeout):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()

    async def _collect(self) -> None:
        """Collect the Runs that have ended by now."""
        while self._ends and len(self._lines) < _MAX_ENDS and self._size < _MAX_BYTES:
            number, outcome = self._ends.popleft()
            if isinstance(outcome, Exception):
                raise outcome
            await retry_store(STORE_TIMEOUT, lambda number=number, outcome=outcome: self._collect_one(number, outcome))
            del self._in_flight[number]

    async def _collect_one(self, number: int, outcome: RunOutcome) -> None:
        run_id = self._runs.id_of(number)
        item = await self._items.get(number)
        added = await added_items(outcome, run_id, self._store)
        line = await result_line(self._plan, item, run_id, outcome, self._store)
        self._lines.append(line)
        self._size += len(line)
        self._added += added
        self._succeeded += outcome.status is RunStatus.COMPLETED
        if outcome.reason is not None and outcome.reason.type is ReasonType.VALIDATE_FAILED:
            self._is_login_bad = True

    async def _finish(self) -> JobItemsResult:
        """Store what the piece has collected, and return how far the JobRun has come by it."""
        before = self._input.progress
        if self._added:
            await retry_store(STORE_TIMEOUT, lambda: self._items.append(before.total, self._added))
        if self._lines:
            key = object_keys.job_run_shard(self._plan.project, self._plan.job_run_id, before.shards, self._try_number)
            await retry_store(STORE_TIMEOUT, lambda: self._store.put(key, b"".join(self._lines)))
        progress = JobRunProgress(
            total=before.total + len(self._added),
            next=self._next,
            in_flight=tuple(sorted(self._in_flight)),
            succeeded=before.succeeded + self._succeeded,
            failed=before.failed + len(self._lines) - self._succeeded,
            shards=before.shards + (1 if self._lines else 0),
        )
        return JobItemsResult(progress=progress, is_login_bad=self._is_login_bad)


async def _for_each(numbers: Iterable[int], work: Callable[[int], Awaitable[None]]) -> None:
    """Do the work for each number, for a few of them at the same time. If one fails, the others are awaited."""
    for batch in batched(numbers, _CONCURRENT_CALLS):
        results = await asyncio.gather(*(work(number) for number in batch), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result


async def result_line(plan: JobRunPlan, item: JobItem, run_id: str, outcome: RunOutcome, store: Store) -> bytes:
    """Return the line of a Run that has ended. Raises StoreError."""
    result = None
    if outcome.status is RunStatus.COMPLETED:
        result = dump_object(
            {
                "output": await _value(outcome.result, run_id, store),
                "extendedPayloads": await _value(outcome.extended_payloads, run_id, store) or RawJson(b"[]"),
            }
        )
    ended_at = outcome.ended_at or datetime.now(UTC)
    members: dict[str, Any] = {
        "workspaceId": plan.workspace,
        "project": {"id": plan.project, "name": plan.project},
        "projectJob": {"id": plan.job_id},
        "projectJobRun": {"id": plan.job_run_id},
        "apiInfo": dump_object(
            {
                "name": item.api_name,
                "parameters": item.parameters,
                "runId": run_id,
                "result": result,
                "started_at": None if outcome.started_at is None else utc_text(outcome.started_at),
                "ended_at": utc_text(ended_at),
                "error": cause_json(outcome.error),
                "reason": cause_json(outcome.reason),
                **_evidence(plan, run_id, outcome),
            }
        ),
    }
    if plan.auth is not None:
        members["authSession"] = {"id": plan.auth.ref.id}
    return dump_object(members).text + b"\n"


async def added_items(outcome: RunOutcome, run_id: str, store: Store) -> list[JobItem]:
    """Return what a Run adds to the payload of its JobRun: nothing, unless it has completed. Raises StoreError."""
    if outcome.status is not RunStatus.COMPLETED or outcome.extended_payloads is None:
        return []
    payloads = await _value(outcome.extended_payloads, run_id, store)
    if payloads is None:
        return []
    return await asyncio.to_thread(_items, payloads.text)


def _items(payloads: bytes) -> list[JobItem]:
    return [JobItem(api_name=payload["api"], parameters=payload["parameters"]) for payload in json.loads(payloads)]


def _evidence(plan: JobRunPlan, run_id: str, outcome: RunOutcome) -> dict[str, str | None]:
    """Return the paths of trace and log of the last Attempt."""
    if not outcome.attempts:
        return {"trace_url": None, "log_url": None}
    path = attempt_path(plan.workspace, plan.project, run_id, outcome.attempts)
    has_trace = plan.trace.keeps(completed=outcome.status is RunStatus.COMPLETED)
    return {"trace_url": f"{path}/trace" if has_trace else None, "log_url": f"{path}/log"}


async def _value(value: JsonRef | None, run_id: str, store: Store) -> RawJson | None:
    if value is None:
        return None
    found = await read_json(value, store)
    if found is None:
        log.warning("Run %s: %s is not in the artifact store any more", run_id, value.key)
    return found
