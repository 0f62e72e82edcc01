"""What the Schedule of a Job starts, and the lock that a JobRun holds."""

import asyncio
from datetime import UTC, datetime

from temporalio.client import WorkflowExecutionStatus

from callboard.schemas.workflow import names
from callboard.schemas.workflow.job import JobRef
from callboard.schemas.workflow.job_run import JobRunInput, JobRunType, JobRunView
from tests.support.job_run_stage import HeldPiece, JobRunStage, progress
from tests.support.stage import DEADLINE, WORKSPACE
from workflows.job_run import JobRunWorkflow
from workflows.trigger_job import TriggerJobWorkflow


async def test_a_schedule_starts_a_job_run_that_outlives_what_has_started_it(job_run: JobRunStage):
    piece = HeldPiece(progress(total=3, next=3, succeeded=3, shards=1))
    job_run.script = [piece]
    ref = JobRef(
        workspace=WORKSPACE, project=job_run.project, job_id="nightly", definition="d1", created_at=datetime.now(UTC)
    )
    trigger = await job_run.client.start_workflow(
        TriggerJobWorkflow.run, ref, id=f"trigger-{job_run.project}", task_queue=job_run.queue
    )
    async with asyncio.timeout(DEADLINE):
        job_run_id = await trigger.result()
        await piece.began.wait()
    assert names.is_job_run_id(job_run_id)
    handle = job_run.client.get_workflow_handle_for(JobRunWorkflow.run, job_run_id)
    description = await handle.describe()
    assert description.status is WorkflowExecutionStatus.RUNNING
    view = await description.memo_value(names.MEMO_JOB_RUN, type_hint=JobRunView)
    assert (view.type, view.job_id, view.definition) == (JobRunType.SCHEDULED, "nightly", "d1")
    found = {pair.key.name: pair.value for pair in description.typed_search_attributes}
    assert (found[names.SEARCH_PROJECT], found[names.SEARCH_JOB]) == (job_run.project, "nightly")
    async for event in handle.fetch_history_events(page_size=1):
        payloads = event.workflow_execution_started_event_attributes.input.payloads
        (started,) = await job_run.client.data_converter.decode(payloads, [JobRunInput])
        assert isinstance(started, JobRunInput)
        assert started.type is JobRunType.SCHEDULED
        break
    piece.end()
    async with asyncio.timeout(DEADLINE):
        await handle.result()
