"""A whole worker in this process, to look inside: what it counts, and whether the counts agree with Temporal's.

Tests that need something of `worker.py` have it from here: nothing else imports it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client

import worker as worker_process
from activities.attempts.running_attempts import RunningAttempts
from callboard.machines import host
from callboard.machines.pool import MachinePools
from callboard.schemas.workflow import names
from callboard.schemas.workflow.run import RunOutcome
from callboard.settings import Settings
from callboard.storage.store import Store
from callboard.temporal.closing import wait_for_outcome
from tests.support.delivery_inputs import json_text
from tests.support.pollers import is_polled
from tests.support.polling import until
from tests.support.run_stage import run_input, start_run
from workflows.run_workflow import RunWorkflow

_WITHIN = 60


@asynccontextmanager
async def serving(patch: pytest.MonkeyPatch, settings: Settings, store: Store) -> AsyncGenerator[asyncio.Event]:
    """A worker on this store, for as long as the block lasts, or until the event is set."""

    def opened(*_arguments: Any, **_options: Any) -> Store:
        return store

    patch.setattr(worker_process, "open_store", opened)
    stop = asyncio.Event()
    serving = asyncio.create_task(worker_process.serve(settings, stop))
    try:
        yield stop
    finally:
        stop.set()
        await asyncio.wait_for(serving, _WITHIN)


Held = frozenset[tuple[str, int]]
"""Attempts: id of the Run, and number."""


@dataclass
class Inside:
    """A running worker, and the Runs that it was given."""

    client: Client
    project: str
    version: str
    data: Path
    running_attempts: RunningAttempts = field(default_factory=RunningAttempts)
    pools: list[MachinePools] = field(default_factory=list[MachinePools])
    run_ids: list[str] = field(default_factory=list[str])
    ended: set[str] = field(default_factory=set[str])
    """Runs that have: Temporal counts nothing of them any more."""

    @classmethod
    @asynccontextmanager
    async def up(
        cls,
        patch: pytest.MonkeyPatch,
        client: Client,
        store: Store,
        data: Path,
        *,
        project: str,
        version: str,
    ) -> AsyncGenerator[Inside]:
        """The worker on this store, for as long as the block lasts."""
        inside = cls(client, project, version, data)

        def pools(*arguments: Any) -> MachinePools:
            inside.pools.append(MachinePools(*arguments))
            return inside.pools[-1]

        patch.setattr(worker_process, "RunningAttempts", lambda: inside.running_attempts)
        patch.setattr(host, "MachinePools", pools)
        config = client.service_client.config
        settings = Settings(
            data_dir=data,
            temporal_address=config.target_host,
            temporal_namespace=client.namespace,
            shared_folders=[data.parent],
            browser_allow=["127.0.0.0/8", "::1"],
        )
        async with serving(patch, settings, store):
            await until(lambda: is_polled(client, names.project_queue(project)), every=0.05)
            yield inside
        assert list((data / "workers").iterdir()) == []

    async def start(self, api: str, parameters: Any = None, **fields: Any) -> str:
        """Start a Run."""
        sent = json_text(parameters or {})
        run = run_input(self.project, version=self.version, api=api, parameters=sent, **fields)
        run_id = f"inside-{secrets.token_hex(6)}"
        await start_run(self.client, run, run_id, names.RUNS_QUEUE)
        self.run_ids.append(run_id)
        return run_id

    async def end(self, run_id: str) -> RunOutcome:
        """The Run's outcome."""
        async with asyncio.timeout(_WITHIN):
            outcome = await wait_for_outcome(self.client.get_workflow_handle_for(RunWorkflow.run, run_id))
        self.ended.add(run_id)
        return outcome

    # What is counted, at four places.

    def held(self) -> Held:
        """The Attempts that the worker knows to run."""
        return frozenset(self.running_attempts)

    def noted(self) -> Held:
        """Those in its journal."""
        notes = (path.stem.rpartition("-") for path in self.data.glob("workers/*/attempts/*.json"))
        return frozenset((run_id, int(number)) for run_id, _, number in notes)

    def busy(self) -> int:
        """The Machines that it counts as taken."""
        return self.pools[0][self.project].busy

    async def in_flight(self) -> Held:
        """The Attempts that Temporal counts as taken by a worker."""
        found: set[tuple[str, int]] = set()
        for run_id in [run_id for run_id in self.run_ids if run_id not in self.ended]:
            description = await self.client.get_workflow_handle(run_id).describe()
            for pending in description.raw_description.pending_activities:
                taken = pending.state != PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
                if taken and pending.activity_type.name == names.ATTEMPT:
                    number = next(n for n in range(1, 101) if f"attempt-{n}" == pending.activity_id)
                    found.add((run_id, number))
        return frozenset(found)

    async def check(self) -> int:
        """Check what must hold at any moment; the number of Attempts that run.

        Temporal is asked a moment later than the worker: an Attempt that runs before and after the answer is in it.
        """
        before = self._check_here()
        in_flight = await self.in_flight()
        after = self._check_here()
        assert before & after <= in_flight, "an Attempt runs that Temporal does not know of"
        return len(after)

    async def until_counted(self, count: int) -> None:
        """Wait until all four say this. They must, as soon as nothing begins or ends."""

        async def counts() -> set[int]:
            return {len(self.held()), len(self.noted()), self.busy(), len(await self.in_flight())}

        await until(counts, true={count}.__eq__, every=0.05)
        assert self.held() == self.noted() == await self.in_flight()

    def _check_here(self) -> Held:
        """What must hold between two steps of this process."""
        held = self.held()
        assert held == self.noted(), "journal and worker know of different Attempts"
        # An Attempt has no Machine before it has its version and parameters, nor while its result is stored.
        assert self.busy() <= len(held), "a Machine is busy without an Attempt"
        return held
