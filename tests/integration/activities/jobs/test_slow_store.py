"""A store that answers slowly: a JobRun waits for it, and its worker is not taken for lost meanwhile."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import heartbeat
from activities.jobs import activities
from callboard.schemas.workflow import names
from callboard.schemas.workflow.job_run import JobItemsInput, JobRunProgress, PrepareJobRunInput
from tests.support.control_worker import JobLab, items
from tests.support.faulty_store import FaultyStore
from tests.support.stage import WORKSPACE

JOB_RUN = names.job_run_id("x" * names.JOB_RUN_TOKEN_LENGTH)


def slow_down(store: FaultyStore, monkeypatch: pytest.MonkeyPatch) -> ActivityEnvironment:
    """An environment whose activities get no answer of the store before they have sent another heartbeat."""
    environment, beat = ActivityEnvironment(), asyncio.Event()
    environment.on_heartbeat = lambda *_: beat.set()

    async def recorded(*_details: object, within: float) -> None:
        """Stand in for a heartbeat by request: there is no server behind an ActivityEnvironment."""

    async def wait_for_another_one() -> None:
        beat.clear()
        async with asyncio.timeout(10):
            await beat.wait()

    async def get(key: str) -> bytes | None:
        await wait_for_another_one()
        return await type(store).get(store, key)

    async def put(key: str, data: bytes) -> None:
        await wait_for_another_one()
        await type(store).put(store, key, data)

    monkeypatch.setattr(heartbeat, "FIRST_HEARTBEAT", 0.0)
    monkeypatch.setattr(heartbeat, "record_heartbeat", recorded)
    monkeypatch.setattr(activities, "SHORT_INTERVAL", 0.0)
    monkeypatch.setattr(store, "get", get)
    monkeypatch.setattr(store, "put", put)
    return environment


async def test_its_preparation_sends_heartbeats_meanwhile(
    idle_job_lab: JobLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition = await idle_job_lab.define(items(1))
    environment = slow_down(idle_job_lab.store, monkeypatch)
    prepare = PrepareJobRunInput(
        workspace=WORKSPACE,
        project=idle_job_lab.project,
        job_id=definition.job_id,
        job_run_id=JOB_RUN,
        definition=definition.ref,
    )
    plan = await environment.run(idle_job_lab.job_run_activities().prepare_job_run, prepare)
    assert plan.payload_count == 1


async def test_a_piece_sends_heartbeats_meanwhile(idle_job_lab: JobLab, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = slow_down(idle_job_lab.store, monkeypatch)
    piece = JobItemsInput(project=idle_job_lab.project, job_run_id=JOB_RUN, piece=1, progress=JobRunProgress(total=1))
    with pytest.raises(ApplicationError, match="The plan of JobRun"):
        await environment.run(idle_job_lab.job_run_activities().execute_job_items, piece)
