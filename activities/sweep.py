"""Activity `sweep_artifacts`: what Runs have left in the artifact store goes once they ended long enough ago.

A Run is looked after when its newest artifact is old: what is written for it later, by a Delivery, keeps all of it. It
stays while it is in flight, and until it is old itself, by its end. One that Temporal does not know any more has
nothing but its artifacts to tell its age. What it leaves is listed anew right before it goes, since a start with the
same Idempotency-Key may have begun it once more.

Sweeps may run side by side: to remove what is gone is no error.
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
"""Runs that are looked after side by side: a store has few connections, and Attempts need them more."""
_MOST = 2_000
"""Runs that are looked after in one part."""
_WITHIN = timedelta(minutes=5)
"""A part ends after this time, wherever it has come to."""

_RUN_ID = re.compile(r"[A-Za-z0-9_-]+")


@dataclass
class _Run:
    """What the store has of a Run."""

    id: str
    prefix: str
    newest: datetime

    @property
    def behind(self) -> str:
        """A key behind all of its own, and before those of the next Run."""
        return self.prefix.removesuffix("/") + "0"  # the character after the slash


class _Course:
    """How far a part has come, also for whoever has to go on with it."""

    def __init__(self, order: SweepPart) -> None:
        known = [SweepPartResult.model_validate(detail) for detail in activity.info().heartbeat_details[:1]]
        self.after = (known[0].after if known else None) or order.after
        self.tally = known[0].tally if known else SweepTotals()

    def details(self) -> tuple[SweepPartResult]:
        return (SweepPartResult(after=self.after, tally=self.tally),)


class SweepActivity:
    """On the common queue."""

    def __init__(self, client: Client, store: Store, *, most: int = _MOST, within: timedelta = _WITHIN) -> None:
        """Nothing is removed yet.

        Args:
            client: Knows which Runs are in flight, and when the others ended. Its namespace is the store's only one.
            store: What is swept.
            most: Runs that one part looks after.
            within: Time after which it ends.
        """
        self._client = client
        self._store = store
        self._most = most
        self._within = within

    @activity.defn(name=names.SWEEP_ARTIFACTS)
    async def sweep_artifacts(self, order: SweepPart) -> SweepPartResult:
        """Look through a part of `runs/`, and remove what may go.

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
        """Whether the end was reached."""
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
        """The Runs that have left something, in the order of their keys."""
        run: _Run | None = None
        async for entry in self._store.entries(keys.RUNS, after=after):
            parts = entry.key.split("/", 3)
            if len(parts) < 4 or not _RUN_ID.fullmatch(parts[2]):
                continue  # it is not ours
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
        """Remove those that may go. All have been tried when this raises."""
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
        """Whether it ended before then, or is not known any more."""
        try:
            with translate_rpc_errors():
                run = await self._client.get_workflow_handle(run_id).describe(rpc_timeout=RPC_TIMEOUT)
        except NotFound:
            return True
        return run.close_time is not None and run.close_time < before
