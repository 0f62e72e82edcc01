"""What the Schedule of a Job starts, and the lock that a JobRun holds."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from schemas.workflow import names
from schemas.workflow.job import JobRef
from schemas.workflow.job_run import JobRunInput, JobRunType, JobRunView
from tests.support.job_run_stage import HeldPiece, JobRunStage, progress
from tests.support.run_stage import DEADLINE, WORKSPACE
from workflows.job_run import JobRunWorkflow
from workflows.trigger_job import TriggerJobWorkflow


@pytest.fixture
async def stage(name: str, temporal: Client) -> AsyncIterator[JobRunStage]:
    async with JobRunStage(temporal, name) as stage:
        yield stage


async def test_a_schedule_starts_a_job_run_that_outlives_what_has_started_it(stage: JobRunStage):
    piece = HeldPiece(progress(total=3, next=3, succeeded=3, shards=1))
    stage.script = [piece]
    ref = JobRef(
        workspace=WORKSPACE, project=stage.project, job_id="nightly", definition="d1", created_at=datetime.now(UTC)
    )
    trigger = await stage.client.start_workflow(
        TriggerJobWorkflow.run, ref, id=f"trigger-{stage.project}", task_queue=stage.queue
    )
    async with asyncio.timeout(DEADLINE):
        job_run_id = await trigger.result()
        await piece.began.wait()
    assert names.is_job_run_id(job_run_id)
    handle = stage.client.get_workflow_handle_for(JobRunWorkflow.run, job_run_id)
    description = await handle.describe()
    assert description.status is WorkflowExecutionStatus.RUNNING
    view = await description.memo_value(names.MEMO_JOB_RUN, type_hint=JobRunView)
    assert (view.type, view.job_id, view.definition) == (JobRunType.SCHEDULED, "nightly", "d1")
    found = {pair.key.name: pair.value for pair in description.typed_search_attributes}
    assert (found[names.SEARCH_PROJECT], found[names.SEARCH_JOB]) == (stage.project, "nightly")
    async for event in handle.fetch_history_events(page_size=1):
        payloads = event.workflow_execution_started_event_attributes.input.payloads
        (started,) = await stage.client.data_converter.decode(payloads, [JobRunInput])
        assert isinstance(started, JobRunInput)
        assert started.type is JobRunType.SCHEDULED
        break
    piece.end()
    async with asyncio.timeout(DEADLINE):
        await handle.result()
