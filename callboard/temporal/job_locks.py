"""The locks of Jobs: a JobRun holds one while it is active. Each is a workflow with a fixed id.

A JobRun that somebody has ended in Temporal itself leaves its lock behind. The next JobRun that wants the lock finds
that its holder has ended, and releases it.
"""

from __future__ import annotations

from temporalio.client import Client
from temporalio.common import Priority, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from callboard.schemas.workflow import names
from callboard.schemas.workflow.job_run import JobLockInput, JobLockResult
from callboard.temporal.rpc_errors import RPC_TIMEOUT, describe_running, signal_if_running
from workflows.visibility import project_search_attributes


class JobLocks:
    """The locks of the Jobs of one Temporal namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def acquire(self, lock: JobLockInput, *, waits: bool) -> JobLockResult:
        """Acquire the lock of a Job, or stand in line for it if the JobRun waits for others. Raises RPCError.

        It can be repeated: a JobRun that holds the lock acquires it once more, and one that waits keeps its place.
        """
        while not await self._start(lock):
            found = await describe_running(self._client, _lock_id(lock))
            if found is None:
                continue
            holder = await found.memo_value(names.MEMO_HOLDER)
            if holder == lock.holder:
                return JobLockResult()
            is_active = await describe_running(self._client, holder) is not None
            if is_active and not waits:
                return JobLockResult(active=holder)
            if not is_active:
                await self._signal(lock, names.RELEASE, holder)
            if await self._signal(lock, names.WAIT_FOR_LOCK, lock.holder):
                return JobLockResult(active=holder, waits=True)
        return JobLockResult()

    async def release(self, lock: JobLockInput) -> None:
        """Let a JobRun hold the lock no more, nor wait for it. Raises RPCError."""
        await self._signal(lock, names.RELEASE, lock.holder)

    async def _start(self, lock: JobLockInput) -> bool:
        """Start the workflow that is the lock; return False if there is one."""
        try:
            await self._client.start_workflow(
                names.JOB_LOCK,
                lock,
                id=_lock_id(lock),
                task_queue=names.CALLBOARD_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                priority=Priority(priority_key=names.PRIORITY_STARTED),
                memo={names.MEMO_HOLDER: lock.holder},
                search_attributes=project_search_attributes(lock.project),
                static_summary=f"Lock of Job {lock.job_id} of {lock.project}",
                rpc_timeout=RPC_TIMEOUT,
            )
        except WorkflowAlreadyStartedError:
            return False
        return True

    async def _signal(self, lock: JobLockInput, signal: str, job_run_id: str) -> bool:
        """Signal the workflow that is the lock; return False if it has ended."""
        return await signal_if_running(self._client, _lock_id(lock), signal, job_run_id)


def _lock_id(lock: JobLockInput) -> str:
    return names.job_lock_workflow_id(lock.project, lock.job_id)
