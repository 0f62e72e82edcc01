"""Start, read and steer JobRuns."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.common import WorkflowIDReusePolicy

from schemas.errors import Conflict, NotFound
from schemas.rest.job_runs import SortKey
from schemas.workflow import names
from schemas.workflow.job_run import JobRunInput
from temporal.job_run_listing import (
    SORTED_BY,
    JobRunPage,
    JobRunState,
    job_runs_query,
    read_job_run,
)
from temporal.rpc_errors import RPC_TIMEOUT, signal_if_running, translate_rpc_errors, unless_missing
from workflows import visibility

_NOT_FOUND = "There is no such JobRun."
_PAGE_SIZE = 1_000
_MAX_SORTED = 10_000
"""How many JobRuns of a Job are sorted at most: the unfinished ones, and those that have ended last."""


class JobRuns:
    """The JobRuns of one Temporal namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def start(self, job_run_id: str, job_run: JobRunInput) -> None:
        """Start workflow `JobRun` with this id.

        Raises:
            ConfigurationError: Temporal refuses: the namespace or its search attributes are missing.
            Unavailable: Temporal cannot be reached; whether the JobRun was started is not known.
        """
        with translate_rpc_errors(_NOT_FOUND):
            await self._client.start_workflow(
                names.JOB_RUN,
                job_run,
                id=job_run_id,
                task_queue=names.CALLBOARD_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                static_summary=f"Job {job_run.job_id} of {job_run.project}",
                static_details=visibility.job_run_static_details(job_run),
                memo=visibility.job_run_memo(job_run),
                search_attributes=visibility.job_run_search_attributes(job_run),
                rpc_timeout=RPC_TIMEOUT,
            )

    async def get(self, workspace: str, project: str, job_id: str | None, job_run_id: str) -> JobRunState:
        """Return a JobRun of a Job, or of any Job of the project if none is named.

        Raises:
            NotFound: There is no such JobRun.
            Unavailable: Temporal cannot be reached.
        """
        with translate_rpc_errors(_NOT_FOUND):
            return await read_job_run(await self._describe(workspace, project, job_id, job_run_id))

    async def list_latest(self, workspace: str, project: str, count: int) -> list[JobRunState]:
        """Return JobRuns of all Jobs of a project: the unfinished ones, then those that have ended last.

        Raises:
            Unavailable: Temporal cannot be reached.
        """
        with translate_rpc_errors(_NOT_FOUND):
            query = job_runs_query(project)
            executions = self._client.list_workflows(query, page_size=count, limit=count, rpc_timeout=RPC_TIMEOUT)
            found = [await read_job_run(execution) async for execution in executions]
        return [state for state in found if state.workspace == workspace]

    async def list_page(
        self, workspace: str, project: str, job_id: str, *, sort: Sequence[SortKey], first: int, count: int
    ) -> JobRunPage:
        """Return `count` JobRuns in this order, from the one with the number `first` on. Raises Unavailable.

        Temporal itself has one order only, so all of them are read, and sorted here.
        """
        query = job_runs_query(project, job_id)
        with translate_rpc_errors(_NOT_FOUND):
            total = (await self._client.count_workflows(query, rpc_timeout=RPC_TIMEOUT)).count
            executions = self._client.list_workflows(
                query, page_size=_PAGE_SIZE, limit=_MAX_SORTED, rpc_timeout=RPC_TIMEOUT
            )
            found = [await read_job_run(execution) async for execution in executions]
        found = [state for state in found if state.workspace == workspace]
        for key in reversed(sort):  # Sorting keeps the order of what is equal, so the most important field comes last.
            found.sort(key=SORTED_BY[key.field], reverse=key.descending)
        return JobRunPage(tuple(found[first : first + count]), max(total, len(found)))

    async def pause(self, workspace: str, project: str, job_id: str, job_run_id: str) -> None:
        """Let a JobRun start no further Runs; those that it has started go on.

        Raises:
            NotFound: The Job has no such JobRun.
            Conflict: The JobRun has ended.
            Unavailable: Temporal cannot be reached.
        """
        await self._steer(workspace, project, job_id, job_run_id, names.PAUSE_JOB_RUN)

    async def resume(self, workspace: str, project: str, job_id: str, job_run_id: str) -> None:
        """Let a JobRun start Runs again. Raises as `pause` does."""
        await self._steer(workspace, project, job_id, job_run_id, names.RESUME_JOB_RUN)

    async def terminate(self, workspace: str, project: str, job_id: str, job_run_id: str) -> None:
        """End a JobRun and its Runs. One that has ended is left as it is. Raises as `get` does."""
        with translate_rpc_errors(_NOT_FOUND):
            description = await self._describe(workspace, project, job_id, job_run_id)
            if description.status is WorkflowExecutionStatus.RUNNING:
                await signal_if_running(self._client, job_run_id, names.TERMINATE_JOB_RUN)

    async def pause_active(self, project: str, job_id: str) -> None:
        """Pause all JobRuns of a Job that have not ended. Raises Unavailable."""
        await self._steer_active(project, job_id, names.PAUSE_JOB_RUN)

    async def resume_active(self, project: str, job_id: str) -> None:
        """Resume all JobRuns of a Job that have not ended. Raises Unavailable."""
        await self._steer_active(project, job_id, names.RESUME_JOB_RUN)

    async def _steer(self, workspace: str, project: str, job_id: str, job_run_id: str, signal: str) -> None:
        with translate_rpc_errors(_NOT_FOUND):
            description = await self._describe(workspace, project, job_id, job_run_id)
            running = description.status is WorkflowExecutionStatus.RUNNING
            if not running or not await signal_if_running(self._client, job_run_id, signal):
                raise Conflict(f"JobRun {job_run_id} has ended. Trigger its Job to start another one.")

    async def _steer_active(self, project: str, job_id: str, signal: str) -> None:
        with translate_rpc_errors(_NOT_FOUND):
            # Visibility may not know yet of a JobRun that has just begun; the lock of its Job names it.
            query = f"{job_runs_query(project, job_id)} AND ExecutionStatus = 'Running'"
            executions = self._client.list_workflows(query, page_size=_PAGE_SIZE, rpc_timeout=RPC_TIMEOUT)
            active = {execution.id async for execution in executions}
            holder = await self._read_lock_holder(project, job_id)
            if holder is not None:
                active.add(holder)
            await asyncio.gather(*(signal_if_running(self._client, job_run_id, signal) for job_run_id in active))

    async def _read_lock_holder(self, project: str, job_id: str) -> str | None:
        """Return the JobRun that holds the lock of a Job; None if there is none. Raises RPCError."""
        handle = self._client.get_workflow_handle(names.job_lock_workflow_id(project, job_id))
        description = await unless_missing(handle.describe(rpc_timeout=RPC_TIMEOUT))
        return description and await description.memo_value(names.MEMO_HOLDER, default=None)

    async def _describe(
        self, workspace: str, project: str, job_id: str | None, job_run_id: str
    ) -> WorkflowExecutionDescription:
        if not names.is_job_run_id(job_run_id):
            raise NotFound(_NOT_FOUND)
        description = await self._client.get_workflow_handle(job_run_id).describe(rpc_timeout=RPC_TIMEOUT)
        attributes = description.typed_search_attributes
        if (
            description.workflow_type != names.JOB_RUN
            or attributes.get(visibility.PROJECT) != project
            or job_id not in (None, attributes.get(visibility.JOB))
            or await description.memo_value(names.MEMO_WORKSPACE, default=None) != workspace
        ):
            raise NotFound(_NOT_FOUND)
        return description
