"""A stage for tests of sinks: the real workflow, with an activity that plays a part."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from temporalio import activity
from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Worker

from schemas.workflow import names
from schemas.workflow.delivery import SinkTestInput, SinkTestOutcome, TryRecord
from tests.support.delivery_inputs import sealed, webhook
from tests.support.run_stage import DEADLINE, IDENTITY, WORKSPACE
from workflows.sink_test import SinkTestWorkflow

SINK_TESTS = ("sink-tested",)


def sink_test(url: str, test_id: str = "test-1") -> SinkTestInput:
    """The input of a test, as the api makes it."""
    sink = sealed(webhook(url), "shop", test_id)
    return SinkTestInput(workspace=WORKSPACE, project="shop", test_id=test_id, api="list", sink=sink)


async def sink_tested(client: Client, name: str) -> WorkflowHistory:
    """The history of one that arrives."""

    @activity.defn(name=names.SEND_TEST)
    async def send(_input: SinkTestInput) -> SinkTestOutcome:
        record = TryRecord(at=datetime.now(UTC), status_code=200, latency=timedelta(milliseconds=3), answer="thanks")
        return SinkTestOutcome(record=record)

    async with Worker(
        client,
        task_queue=name,
        workflows=[SinkTestWorkflow],
        activities=[send],
        identity=IDENTITY,
        max_cached_workflows=0,
    ):
        handle = await client.start_workflow(
            SinkTestWorkflow.run,
            sink_test("https://hook.example"),
            id=f"sink-test:{name}",
            task_queue=name,
        )
        await asyncio.wait_for(handle.result(), DEADLINE)
        return await handle.fetch_history()
