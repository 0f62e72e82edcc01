"""Every course that a JobRun, its lock and its Schedule's action can take; each history is recorded under its name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from temporalio.client import WorkflowHandle

from callboard.schemas.workflow import names
from callboard.schemas.workflow.job import JobRef
from callboard.schemas.workflow.job_run import JobLockInput, JobLockResult, JobRunStatus
from tests.support.job_run_stage import (
    GOOD,
    JOB,
    HeldPiece,
    JobRunStage,
    auth,
    one_by_one,
    progress,
    receiver,
    returns,
)
from tests.support.polling import until
from tests.support.stage import WORKSPACE, shape
from workflows.job_lock import JobLockWorkflow
from workflows.trigger_job import TriggerJobWorkflow

_OTHER, _GONE = (names.job_run_id(letter * names.JOB_RUN_TOKEN_LENGTH) for letter in "og")
_BROKEN = progress(total=3, next=2, in_flight=(1,), failed=1, shards=1)


@shape(JobRunStage)
async def job_run(stage: JobRunStage) -> None:
    await stage.start()
    await stage.ended()


@shape(JobRunStage)
async def job_run_with_login_and_receiver(stage: JobRunStage) -> None:
    stage.plan_with(auth=auth(GOOD), notifications=(receiver(),))
    await job_run(stage)


@shape(JobRunStage)
async def job_run_paused_and_resumed(stage: JobRunStage) -> None:
    running = HeldPiece(progress(total=3, next=2, in_flight=(0, 1)))
    await stage.start(running, returns(progress(total=3, next=2, succeeded=2, shards=1)), one_by_one)
    await running.began.wait()
    await stage.signal(names.PAUSE_JOB_RUN)
    await stage.until_status(JobRunStatus.PAUSED)
    await stage.signal(names.RESUME_JOB_RUN)
    await stage.ended()


@shape(JobRunStage)
async def job_run_login_breaks(stage: JobRunStage) -> None:
    stage.plan_with(auth=auth(GOOD))
    drained = progress(total=3, next=2, failed=2, shards=2)
    await stage.start(returns(_BROKEN, is_login_bad=True, bad_login=1), returns(drained), one_by_one)
    await stage.ended()


@shape(JobRunStage)
async def job_run_terminated(stage: JobRunStage) -> None:
    running = HeldPiece(progress(total=3, next=2, in_flight=(0, 1)))
    await stage.start(running, one_by_one)
    await running.began.wait()
    await stage.signal(names.TERMINATE_JOB_RUN)
    await stage.ended()


@shape(JobRunStage)
async def job_run_another_is_active(stage: JobRunStage) -> None:
    async def is_taken(_input: JobLockInput) -> JobLockResult:
        return JobLockResult(active=_OTHER)

    stage.on_lock = is_taken
    await job_run(stage)


@shape(JobRunStage)
async def job_run_goes_on(stage: JobRunStage) -> None:
    """Its second execution is recorded, which begins with what the first has come to."""
    stage.plan_with(payload_count=20)
    await job_run(stage)


@shape(JobRunStage)
async def job_triggered(stage: JobRunStage) -> None:
    stage.plan_with(payload_count=0)
    ref = JobRef(workspace=WORKSPACE, project=stage.project, job_id=JOB, definition="d1", created_at=datetime.now(UTC))
    stage.recorded = trigger = await stage.client.start_workflow(
        TriggerJobWorkflow.run, ref, id=f"trigger-{stage.project}", task_queue=stage.queue
    )
    await stage.client.get_workflow_handle(await trigger.result()).result()


@shape(JobRunStage)
async def job_run_waits_for_its_turn(stage: JobRunStage) -> None:
    async def waits(_input: JobLockInput) -> JobLockResult:
        return JobLockResult(active=_OTHER, waits=True)

    stage.on_lock = waits
    await stage.start()
    await until(lambda: stage.locks)
    await stage.signal(names.LOCKED)
    await stage.ended()


async def _lock(stage: JobRunStage) -> WorkflowHandle[Any, Any]:
    """The lock of the Job, which another JobRun has; it is recorded."""
    lock = JobLockInput(project=stage.project, job_id=JOB, holder=_OTHER)
    stage.recorded = await stage.client.start_workflow(
        JobLockWorkflow.run, lock, id=names.job_lock_workflow_id(stage.project, JOB), task_queue=stage.queue
    )
    return stage.recorded


@shape(JobRunStage)
async def job_locked(stage: JobRunStage) -> None:
    lock = await _lock(stage)
    await lock.signal(names.RELEASE, _OTHER)
    await lock.result()


@shape(JobRunStage)
async def job_lock_handed_over(stage: JobRunStage) -> None:
    async def holder() -> str:
        return await (await lock.describe()).memo_value(names.MEMO_HOLDER, default="")

    lock = await _lock(stage)
    await stage.start(HeldPiece(progress(total=3)))
    await until(lambda: stage.pieces)
    await lock.signal(names.WAIT_FOR_LOCK, _GONE)
    await lock.signal(names.WAIT_FOR_LOCK, stage.job_run_id)
    await lock.signal(names.RELEASE, _OTHER)
    await until(holder, true=lambda holder: holder == stage.job_run_id)
    await lock.signal(names.RELEASE, stage.job_run_id)
    await lock.result()
    await stage.handle.terminate()
