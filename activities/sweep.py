"""Implement the activity `sweep_artifacts`: remove the artifacts of Runs that ended long enough ago.

A Run is examined when its newest artifact is old: what a Delivery writes for it later keeps all of its artifacts. They
stay while the Run is in flight, and until its end is long enough ago. For a Run that Temporal no longer knows, only the
age of its artifacts counts. Its artifacts are listed anew right before they are removed, since a start with the same
Idempotency-Key may have started it once more.

Sweeps may run concurrently: removing what is gone already is no error.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio import activity
from temporalio.client import Client

from activities.heartbeat import heartbeats
from schemas.errors import NotFound, StoreError
from schemas.workflow import names
from schemas.workflow.sweep import SweepPart, SweepPartResult, SweepTotals
from storage import keys
from storage.store import Store
from temporal.rpc_errors import RPC_TIMEOUT, translate_rpc_errors

log = logging.getLogger(__name__)

_AT_ONCE = 4
"""How many Runs are examined at the same time: a store has few connections, and Attempts need them more."""
_MOST = 2_000
"""How many Runs one part examines at most."""
_WITHIN = timedelta(minutes=5)
"""Time after which a part ends, wherever it has come to."""

_RUN_ID = re.compile(r"[A-Za-z0-9_-]+")


@dataclass
class _Run:
    """What the store holds of a Run."""

    id: str
    prefix: str
    newest: datetime

    @property
    def behind(self) -> str:
        """A key that sorts after all keys of this Run, and before those of the next one."""
        return self.prefix.removesuffix("/") + "0"  # the character after the slash


class _Course:
    """Progress of a part; it is sent as heartbeat details, so that the next try can go on from there."""

    def __init__(self, order: SweepPart) -> None:
        known = [SweepPartResult.model_validate(detail) for detail in activity.info().heartbeat_details[:1]]
        self.after = (known[0].after if known else None) or order.after
        self.tally = known[0].tally if known else SweepTotals()

    def details(self) -> tuple[SweepPartResult]:
        return (SweepPartResult(after=self.after, tally=self.tally),)


class SweepActivity:
    """The activity `sweep_artifacts`, on the common task queue."""

    def __init__(self, client: Client, store: Store, *, most: int = _MOST, within: timedelta = _WITHIN) -> None:
        """Set up without removing anything yet.

        Args:
            client: Tells which Runs are in flight, and when the others ended. Its namespace is the only one of the
                store.
            store: The artifact store that is swept.
            most: How many Runs one part examines at most.
            within: Time after which a part ends.
        """
        self._client = client
        self._store = store
        self._most = most
        self._within = within

    @activity.defn(name=names.SWEEP_ARTIFACTS)
    async def sweep_artifacts(self, order: SweepPart) -> SweepPartResult:
        """Examine a part of `runs/`, and remove the artifacts that may go.

        Raises:
            StoreError: The store cannot be listed; repeating helps.
            Unavailable, ConfigurationError: Temporal cannot say which Runs are in flight.
        """
        course = _Course(order)
        async with heartbeats(details=course.details):
            if not await self._through(order, course):
                return SweepPartResult(after=course.after, tally=course.tally)
            await self._store.tidy(keys.RUNS, order.before)
        return SweepPartResult(tally=course.tally)

    async def _through(self, order: SweepPart, course: _Course) -> bool:
        """Examine the Runs of this part, and tell whether the end of the store was reached."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._within.total_seconds()
        due: list[_Run] = []
        looked_after = 0
        async with aclosing(self._runs(course.after)) as runs:
            async for run in runs:
                if run.newest < order.before:
                    due.append(run)
                enough = looked_after + len(due) >= self._most or loop.time() > deadline
                if due and (enough or len(due) == _AT_ONCE):
                    looked_after += len(due)
                    course.tally = course.tally.plus(await self._look_after(due, order.before))
                    due = []
                if not due:
                    course.after = run.behind
                if enough:
                    return False
        course.tally = course.tally.plus(await self._look_after(due, order.before))
        return True

    async def _runs(self, after: str) -> AsyncGenerator[_Run]:
        """Yield the Runs that have artifacts, in the order of their keys."""
        run: _Run | None = None
        async for entry in self._store.entries(keys.RUNS, after=after):
            parts = entry.key.split("/", 3)
            if len(parts) < 4 or not _RUN_ID.fullmatch(parts[2]):
                continue  # Callboard did not write it
            prefix = keys.run(parts[1], parts[2])
            if run is not None and run.prefix == prefix:
                run.newest = max(run.newest, entry.modified)
                continue
            if run is not None:
                yield run
            run = _Run(parts[2], prefix, entry.modified)
        if run is not None:
            yield run

    async def _look_after(self, runs: list[_Run], before: datetime) -> SweepTotals:
        """Remove the artifacts of the Runs that are over. If one fails, raise after all have been tried."""
        tally = SweepTotals()
        for came in await asyncio.gather(*(self._remove(run, before) for run in runs), return_exceptions=True):
            if isinstance(came, BaseException):
                raise came
            tally = tally.plus(came)
        return tally

    async def _remove(self, run: _Run, before: datetime) -> SweepTotals:
        if not await self._is_over(run.id, before):
            return SweepTotals()
        try:
            left = [entry async for entry in self._store.entries(run.prefix)]
            if not left or any(entry.modified >= before for entry in left):
                return SweepTotals()
            for entry in left:
                await self._store.delete(entry.key)
        except StoreError as error:
            log.warning("Run %s stays in the artifact store: %s", run.id, error.message)
            return SweepTotals(failed=1, failure=error.message)
        return SweepTotals(runs=1, artifacts=len(left))

    async def _is_over(self, run_id: str, before: datetime) -> bool:
        """Tell whether the Run ended before then, or is not known any more."""
        try:
            with translate_rpc_errors():
                run = await self._client.get_workflow_handle(run_id).describe(rpc_timeout=RPC_TIMEOUT)
        except NotFound:
            return True
        return run.close_time is not None and run.close_time < before
