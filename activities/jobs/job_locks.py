"""The locks of Jobs: a JobRun holds one while it is active. Each is a workflow, of which there is one at a time.

A JobRun that somebody has ended in Temporal itself leaves its lock behind. Whoever wants the lock next finds that its
holder has ended, and ends the lock.
"""

from __future__ import annotations

import logging

from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import Priority, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from schemas.workflow import names
from schemas.workflow.job_activities import JobLockInput
from temporal.closing import wait_for_result
from temporal.rpc_errors import RPC_TIMEOUT

log = logging.getLogger(__name__)


class JobLocks:
    """The locks of the Jobs of one Temporal namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def acquire(self, lock: JobLockInput) -> str | None:
        """Acquire the lock of a Job, unless another JobRun is active; then return the id of that one. Raises RPCError.

        It can be repeated: a JobRun that holds the lock acquires it once more.
        """
        while not await self._start(lock):
            found = await self._describe(names.job_lock_workflow_id(lock.project, lock.job_id))
            if found is None or found.status is not WorkflowExecutionStatus.RUNNING:
                continue
            holder = await found.memo_value(names.MEMO_HOLDER, default="")
            if holder == lock.holder:
                return None
            active = await self._describe(holder)
            if active is not None and active.status is WorkflowExecutionStatus.RUNNING:
                return holder
            await self._end(found, holder)
        return None

    async def release(self, lock: JobLockInput) -> None:
        """Release the lock if the JobRun holds it; when this returns, another one can acquire it. Raises RPCError."""
        found = await self._describe(names.job_lock_workflow_id(lock.project, lock.job_id))
        if found is None or await found.memo_value(names.MEMO_HOLDER, default="") != lock.holder:
            return
        handle = self._handle_of(found)
        try:
            await handle.signal(names.RELEASE, rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:  # It is released already.
                raise
        await wait_for_result(handle)

    async def _start(self, lock: JobLockInput) -> bool:
        """Start the workflow that is the lock; return False if there is one."""
        try:
            await self._client.start_workflow(
                names.JOB_LOCK,
                lock,
                id=names.job_lock_workflow_id(lock.project, lock.job_id),
                task_queue=names.CALLBOARD_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                priority=Priority(priority_key=names.PRIORITY_STARTED),
                memo={names.MEMO_HOLDER: lock.holder},
                static_summary=f"Lock of Job {lock.job_id} of {lock.project}",
                rpc_timeout=RPC_TIMEOUT,
            )
        except WorkflowAlreadyStartedError:
            return False
        return True

    async def _describe(self, workflow_id: str) -> WorkflowExecutionDescription | None:
        try:
            return await self._client.get_workflow_handle(workflow_id).describe(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise

    async def _end(self, lock: WorkflowExecutionDescription, holder: str) -> None:
        """End a lock whose holder has ended: this very execution, and not one that another JobRun has started since."""
        log.info("The lock %s is ended, as JobRun %s has ended without releasing it", lock.id, holder)
        try:
            await self._handle_of(lock).terminate(reason=f"JobRun {holder} has ended", rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise

    def _handle_of(self, lock: WorkflowExecutionDescription) -> WorkflowHandle[object, object]:
        return self._client.get_workflow_handle(lock.id, run_id=lock.run_id)
