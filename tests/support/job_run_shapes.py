"""Every course that a JobRun, its lock and its Schedule's action can take; each history is recorded under its name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from temporalio.client import Client, WorkflowHandle, WorkflowHistory

from callboard.schemas.workflow import names
from callboard.schemas.workflow.job import JobRef
from callboard.schemas.workflow.job_run import JobLockInput, JobLockResult, JobRunStatus
from tests.support.job_run_stage import (
    GOOD,
    HeldPiece,
    JobRunStage,
    auth,
    one_by_one,
    progress,
    receiver,
    returns,
)
from tests.support.polling import until
from tests.support.run_stage import WORKSPACE
from workflows.job_lock import JobLockWorkflow
from workflows.trigger_job import TriggerJobWorkflow

Shape = Callable[[JobRunStage], Awaitable[WorkflowHistory]]

_OTHER, _GONE = (names.job_run_id(letter * names.JOB_RUN_TOKEN_LENGTH) for letter in "og")
_BROKEN = progress(total=3, next=2, in_flight=(1,), failed=1, shards=1)


async def _piece_by_piece(stage: JobRunStage) -> WorkflowHistory:
    await stage.start()
    await stage.ended()
    return await stage.handle.fetch_history()


async def _with_login_and_receiver(stage: JobRunStage) -> WorkflowHistory:
    stage.plan_with(auth=auth(GOOD), notifications=(receiver(),))
    return await _piece_by_piece(stage)


async def _paused_and_resumed(stage: JobRunStage) -> WorkflowHistory:
    running = HeldPiece(progress(total=3, next=2, in_flight=(0, 1)))
    await stage.start(running, returns(progress(total=3, next=2, succeeded=2, shards=1)), one_by_one)
    await running.began.wait()
    await stage.signal(names.PAUSE_JOB_RUN)
    await stage.until_status(JobRunStatus.PAUSED)
    await stage.signal(names.RESUME_JOB_RUN)
    await stage.ended()
    return await stage.handle.fetch_history()


async def _login_breaks(stage: JobRunStage) -> WorkflowHistory:
    stage.plan_with(auth=auth(GOOD))
    drained = progress(total=3, next=2, failed=2, shards=2)
    await stage.start(returns(_BROKEN, is_login_bad=True, bad_login=1), returns(drained), one_by_one)
    await stage.ended()
    return await stage.handle.fetch_history()


async def _terminated(stage: JobRunStage) -> WorkflowHistory:
    running = HeldPiece(progress(total=3, next=2, in_flight=(0, 1)))
    await stage.start(running, one_by_one)
    await running.began.wait()
    await stage.signal(names.TERMINATE_JOB_RUN)
    await stage.ended()
    return await stage.handle.fetch_history()


async def _another_is_active(stage: JobRunStage) -> WorkflowHistory:
    async def is_taken(_input: JobLockInput) -> JobLockResult:
        return JobLockResult(active=_OTHER)

    stage.on_lock = is_taken
    return await _piece_by_piece(stage)


async def _goes_on(stage: JobRunStage) -> WorkflowHistory:
    """Play a long JobRun, and return the history of its second execution, which began with what the first came to."""
    stage.plan_with(payload_count=20)
    await stage.start()
    await stage.ended()
    last = await stage.handle.describe()
    return await stage.client.get_workflow_handle(stage.job_run_id, run_id=last.run_id).fetch_history()


async def _triggered(stage: JobRunStage) -> WorkflowHistory:
    stage.plan_with(payload_count=0)
    ref = JobRef(
        workspace=WORKSPACE, project=stage.project, job_id="nightly", definition="d1", created_at=datetime.now(UTC)
    )
    handle = await stage.client.start_workflow(
        TriggerJobWorkflow.run, ref, id=f"trigger-{stage.project}", task_queue=stage.queue
    )
    job_run_id = await handle.result()
    await stage.client.get_workflow_handle(job_run_id).result()
    return await handle.fetch_history()


async def _waits_for_its_turn(stage: JobRunStage) -> WorkflowHistory:
    async def waits(_input: JobLockInput) -> JobLockResult:
        return JobLockResult(active=_OTHER, waits=True)

    stage.on_lock = waits
    await stage.start()
    await until(lambda: stage.locks)
    await stage.signal(names.LOCKED)
    await stage.ended()
    return await stage.handle.fetch_history()


async def _locked(stage: JobRunStage) -> WorkflowHistory:
    lock = JobLockInput(project=stage.project, job_id="nightly", holder=_OTHER)
    handle = await stage.client.start_workflow(
        JobLockWorkflow.run, lock, id=names.job_lock_workflow_id(stage.project, "nightly"), task_queue=stage.queue
    )
    await handle.signal(names.RELEASE, _OTHER)
    await handle.result()
    return await handle.fetch_history()


async def holder(lock: WorkflowHandle[Any, Any]) -> str:
    """Which JobRun has the lock."""
    return await (await lock.describe()).memo_value(names.MEMO_HOLDER, default="")


async def _lock_handed_over(stage: JobRunStage) -> WorkflowHistory:
    lock = JobLockInput(project=stage.project, job_id="nightly", holder=_OTHER)
    handle = await stage.client.start_workflow(
        JobLockWorkflow.run, lock, id=names.job_lock_workflow_id(stage.project, "nightly"), task_queue=stage.queue
    )
    await stage.start(HeldPiece(progress(total=3)))
    await until(lambda: stage.pieces)
    await handle.signal(names.WAIT_FOR_LOCK, _GONE)
    await handle.signal(names.WAIT_FOR_LOCK, stage.job_run_id)
    await handle.signal(names.RELEASE, _OTHER)
    await until(lambda: holder(handle), true=lambda holder: holder == stage.job_run_id)
    await handle.signal(names.RELEASE, stage.job_run_id)
    await handle.result()
    await stage.handle.terminate()
    return await handle.fetch_history()


JOB_RUNS: dict[str, Shape] = {
    "job-run": _piece_by_piece,
    "job-run-with-login-and-receiver": _with_login_and_receiver,
    "job-run-paused-and-resumed": _paused_and_resumed,
    "job-run-login-breaks": _login_breaks,
    "job-run-terminated": _terminated,
    "job-run-another-is-active": _another_is_active,
    "job-run-goes-on": _goes_on,
    "job-triggered": _triggered,
    "job-run-waits-for-its-turn": _waits_for_its_turn,
    "job-locked": _locked,
    "job-lock-handed-over": _lock_handed_over,
}


async def played_job_run(client: Client, shape: str) -> WorkflowHistory:
    """Play a shape to its end, and return its history."""
    async with JobRunStage(client, shape) as stage:
        return await JOB_RUNS[shape](stage)
