"""Temporal serves projects by turns: a burst of one holds up nobody else."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import PollerBehaviorSimpleMaximum, UnsandboxedWorkflowRunner, Worker

from callboard.schemas.workflow import names
from callboard.temporal.runs import Runs
from tests.support.run_stage import run_input
from tests.support.temporal_servers import dev_client, dev_server

BURST = 30


@workflow.defn(name=names.RUN)
class EndsAtOnce:
    """Takes one step, as the first of a Run."""

    @workflow.run
    async def run(self, _input: object) -> None:
        pass


@pytest.fixture
async def unserved(tmp_path: Path) -> AsyncGenerator[Client]:
    """A Temporal without workers."""
    async with dev_server(tmp_path) as server:
        yield await dev_client(server)


async def test_a_run_does_not_wait_for_the_burst_of_another_project(unserved: Client) -> None:
    runs = Runs(unserved)
    started = [f"busy-{n}" for n in range(BURST)]
    for run_id in started:
        await runs.start(run_id, run_input("busy"), fingerprint="")
    await runs.start("quiet", run_input("quiet"), fingerprint="")
    async with Worker(
        unserved,
        task_queue=names.RUNS_QUEUE,
        workflows=[EndsAtOnce],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=0,
        max_concurrent_workflow_tasks=1,
        workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(1),
    ):
        begun = {run_id: await _begun_at(unserved, run_id) for run_id in (*started, "quiet")}
    order = sorted(begun, key=lambda run_id: begun[run_id])
    assert order.index("quiet") < BURST // 3
    await runs.close()


async def _begun_at(client: Client, run_id: str) -> int:
    """Return when the first step was handed out, in nanoseconds."""
    handle = client.get_workflow_handle(run_id)
    await handle.result()
    return next(
        event.event_time.ToNanoseconds()
        for event in (await handle.fetch_history()).events
        if event.HasField("workflow_task_started_event_attributes")
    )
