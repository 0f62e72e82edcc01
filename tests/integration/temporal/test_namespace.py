"""A namespace is set up so that Runs can live in it, on a real Temporal."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import (
    Client,
    ScheduleActionStartWorkflow,
    ScheduleOverlapPolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError

from callboard.dev.temporal import TemporalServer
from callboard.schemas.errors import ConfigurationError
from callboard.schemas.workflow import names
from callboard.settings import Settings
from callboard.temporal.client import connect
from callboard.temporal.namespace import NamespaceState, Retention, ensure_namespace, inspect_namespace
from callboard.temporal.runs import Runs
from callboard.temporal.sweep_schedule import SWEEP_INTERVAL, SweepSchedule
from tests.support.polling import until
from tests.support.present import present
from tests.support.run_stage import run_input

A_WEEK = Retention(timedelta(days=7), timedelta(days=8))


@pytest.fixture
async def bare(request: Any, temporal: TemporalServer) -> Client:
    """Of a namespace that does not exist."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_")).strip("-")
    return await connect(Settings(temporal_address=temporal.address, temporal_namespace=name))


async def register(client: Client) -> None:
    """Make the namespace as anybody might, and wait until it is known."""
    day = Duration()
    day.FromTimedelta(timedelta(days=1))
    await client.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=client.namespace, workflow_execution_retention_period=day)
    )
    async with asyncio.timeout(30):
        while True:
            try:
                await client.count_workflows("")
            except RPCError:
                await asyncio.sleep(0.05)
            else:
                return


async def test_one_that_is_missing_is_made_and_runs_can_be_started_in_it_at_once(bare: Client) -> None:
    assert await inspect_namespace(bare) is None
    done = await ensure_namespace(bare, A_WEEK)
    assert await inspect_namespace(bare) == NamespaceState(
        A_WEEK.runs, sweep=SweepSchedule(A_WEEK.artifacts, paused=False)
    )
    assert done == [
        f"Namespace {bare.namespace!r} is made; it keeps Runs for 7 days.",
        f"Search attributes are added: {', '.join(names.SEARCH_ATTRIBUTES)}.",
        "Artifacts are removed 8 days after the end of their Run (Schedule callboard-sweep).",
    ]
    assert await Runs(bare).start("first", run_input("shop"), fingerprint="")


async def test_several_who_do_it_at_once_leave_nothing_to_do_for_the_next(bare: Client) -> None:
    await asyncio.gather(*(ensure_namespace(bare, A_WEEK) for _ in range(3)))
    assert await ensure_namespace(bare, A_WEEK) == []
    assert await inspect_namespace(bare) == NamespaceState(
        A_WEEK.runs, sweep=SweepSchedule(A_WEEK.artifacts, paused=False)
    )


async def test_one_that_others_made_gets_what_it_lacks(bare: Client) -> None:
    await register(bare)
    assert await inspect_namespace(bare) == NamespaceState(
        timedelta(days=1), missing_attributes=tuple(names.SEARCH_ATTRIBUTES)
    )
    done = await ensure_namespace(bare, A_WEEK)
    assert done[0] == f"Namespace {bare.namespace!r} keeps Runs for 7 days now; it was 1 day."
    assert len(done) == 3
    assert await inspect_namespace(bare) == NamespaceState(
        A_WEEK.runs, sweep=SweepSchedule(A_WEEK.artifacts, paused=False)
    )


async def test_the_schedule_starts_a_sweep_every_hour_and_never_two(bare: Client) -> None:
    await ensure_namespace(bare, A_WEEK)
    schedule = (await bare.get_schedule_handle("callboard-sweep").describe()).schedule
    assert isinstance(schedule.action, ScheduleActionStartWorkflow)
    assert (schedule.action.workflow, schedule.action.task_queue) == ("Sweep", "callboard")
    assert schedule.policy.overlap is ScheduleOverlapPolicy.SKIP
    assert [interval.every for interval in schedule.spec.intervals] == [SWEEP_INTERVAL]


async def test_another_age_is_taken_over_and_the_operator_s_times_stay(bare: Client) -> None:
    await ensure_namespace(bare, A_WEEK)
    nightly = ScheduleSpec(cron_expressions=["0 3 * * *"])

    def change(update: ScheduleUpdateInput) -> ScheduleUpdate:
        return ScheduleUpdate(replace(update.description.schedule, spec=nightly))

    handle = bare.get_schedule_handle("callboard-sweep")
    await handle.update(change)
    await handle.pause()
    await until(handle.describe, true=lambda told: told.schedule.state.paused)  # the server takes its time to tell
    changed = Retention(timedelta(days=30), timedelta(days=90))
    assert await ensure_namespace(bare, changed) == [
        f"Namespace {bare.namespace!r} keeps Runs for 30 days now; it was 7 days.",
        "Artifacts are removed 90 days after the end of their Run (Schedule callboard-sweep).",
    ]
    assert await inspect_namespace(bare) == NamespaceState(
        changed.runs, sweep=SweepSchedule(changed.artifacts, paused=True)
    )
    spec = (await handle.describe()).schedule.spec
    assert not spec.intervals
    assert spec.calendars


async def test_a_search_attribute_of_another_type_is_told_and_left_alone(bare: Client) -> None:
    await register(bare)
    text = IndexedValueType.INDEXED_VALUE_TYPE_TEXT
    request = AddSearchAttributesRequest(namespace=bare.namespace, search_attributes={"CallboardApi": text})
    await bare.operator_service.add_search_attributes(request)
    with pytest.raises(ConfigurationError, match=r"CallboardApi \(Text\).*CALLBOARD_TEMPORAL_NAMESPACE"):
        await ensure_namespace(bare, A_WEEK)
    assert present(await inspect_namespace(bare)).mistyped_attributes == {"CallboardApi": "Text"}


async def test_a_retention_that_temporal_does_not_take_is_told_in_its_words(bare: Client) -> None:
    minute = timedelta(minutes=1)
    with pytest.raises(ConfigurationError, match=r"refuses to make the namespace .*: A valid retention period"):
        await ensure_namespace(bare, Retention(minute, minute))
    assert await inspect_namespace(bare) is None
