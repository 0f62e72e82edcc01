"""Start, list, read and steer JobRuns. What is known of one is in its memo: no history is read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from callboard.schemas.errors import Conflict, NotFound
from callboard.schemas.rest.job_runs import SortField, SortKey
from callboard.schemas.workflow import names
from callboard.schemas.workflow.job_run import (
    JobRunInput,
    JobRunProgress,
    JobRunReason,
    JobRunReasonType,
    JobRunStatus,
    JobRunType,
    JobRunView,
)
from callboard.temporal.rpc_errors import RPC_TIMEOUT, signal_if_running, translate_rpc_errors, unless_missing
from callboard.temporal.visibility_queries import equals, quote
from workflows import visibility

_NOT_FOUND = "There is no such JobRun."
_PAGE_SIZE = 1_000
_MAX_SORTED = 10_000
"""How many JobRuns of a Job are sorted at most: the unfinished ones, and those that have ended last."""
_TERMINATED = JobRunReason(type=JobRunReasonType.TERMINATED, message="The JobRun was ended in Temporal itself.")
_INTERNAL_ERROR = "The JobRun ended by an error of Callboard; its workflow in Temporal shows which."


@dataclass(frozen=True)
class JobRunState:
    """What is known of a JobRun."""

    id: str
    workspace: str
    project: str
    job_id: str
    definition: str
    """`JobDefinition.ref` of what it executes."""
    type: JobRunType
    rerun_of: str | None
    status: JobRunStatus
    started_at: datetime
    ended_at: datetime | None
    updated_at: datetime
    progress: JobRunProgress
    version: str | None
    reason: JobRunReason | None
    error: str | None


@dataclass(frozen=True)
class JobRunPage:
    """Some JobRuns of a Job, and how many there are in all."""

    job_runs: tuple[JobRunState, ...]
    total: int


_LATEST = datetime.max.replace(tzinfo=UTC)

_SORTED_BY: dict[SortField, Callable[[JobRunState], Any]] = {
    "start_time": lambda state: state.started_at,
    "end_time": lambda state: state.ended_at or _LATEST,
    "created_at": lambda state: state.started_at,
    "updated_at": lambda state: state.updated_at,
    "status": lambda state: state.status.value,
    "type": lambda state: state.type.value,
    "payloads": lambda state: state.progress.total,
    "successful_runs": lambda state: state.progress.succeeded,
    "failed_runs": lambda state: state.progress.failed,
}


class JobRuns:
    """The JobRuns of one Temporal namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def start(self, job_run_id: str, job_run: JobRunInput) -> None:
        """Start workflow `JobRun` with this id, unless the same rerun was started with it before.

        Raises:
            Conflict: There is another JobRun with this id.
            ConfigurationError: Temporal refuses: the namespace or its search attributes are missing.
            Unavailable: Temporal cannot be reached; whether the JobRun was started is not known.
        """
        with translate_rpc_errors(_NOT_FOUND):
            try:
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
            except WorkflowAlreadyStartedError as error:
                known = await read_job_run(await self._describe(job_run.workspace, job_run.project, None, job_run_id))
                if job_run.rerun is None or known.rerun_of != job_run.rerun.job_run_id:
                    raise Conflict(
                        "This Idempotency-Key was used before for another JobRun. Send a new key."
                    ) from error

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
            found.sort(key=_SORTED_BY[key.field], reverse=key.descending)
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


async def read_last_run_time(client: Client, project: str, job_id: str) -> datetime | None:
    """Return when the last ended JobRun of a Job began; None if none has ended. Raises RPCError.

    One that was kept from starting does not count.
    """
    executed = f"{names.SEARCH_STATUS} != {quote(JobRunStatus.CANCELED)}"
    query = f"{job_runs_query(project, job_id)} AND ExecutionStatus != 'Running' AND {executed}"
    # Temporal lists what has ended by its end, newest first.
    async for execution in client.list_workflows(query, page_size=1, limit=1, rpc_timeout=RPC_TIMEOUT):
        return (await read_job_run(execution)).started_at
    return None


def job_runs_query(project: str, job_id: str | None = None) -> str:
    """Return the query for the JobRuns of a Job, or of all Jobs of a project.

    A JobRun may have several executions, of which the last one counts.
    """
    conditions = [
        equals("WorkflowType", names.JOB_RUN),
        equals(names.SEARCH_PROJECT, project),
        *([] if job_id is None else [equals(names.SEARCH_JOB, job_id)]),
        "ExecutionStatus != 'ContinuedAsNew'",
    ]
    return " AND ".join(conditions)


async def read_job_run(execution: WorkflowExecution) -> JobRunState:
    """Return what is known of a JobRun, from the memo of its workflow."""
    view = JobRunView.model_validate(await execution.memo_value(names.MEMO_JOB_RUN))
    ended = execution.status is not None and execution.status is not WorkflowExecutionStatus.RUNNING
    status, reason, error = view.status, view.reason, view.error
    if ended and not status.has_ended:  # The workflow did not close by itself, and so could not say how it ended.
        if execution.status in {WorkflowExecutionStatus.TERMINATED, WorkflowExecutionStatus.CANCELED}:
            status, reason = JobRunStatus.TERMINATED, _TERMINATED
        else:
            status, reason, error = JobRunStatus.FAILURE, None, _INTERNAL_ERROR
    return JobRunState(
        id=execution.id,
        workspace=view.workspace,
        project=view.project,
        job_id=view.job_id,
        definition=view.definition,
        type=view.type,
        rerun_of=view.rerun_of,
        status=status,
        started_at=view.started_at or execution.start_time,
        ended_at=view.ended_at or (execution.close_time if ended else None),
        updated_at=view.updated_at or execution.start_time,
        progress=view.progress,
        version=view.version,
        reason=reason,
        error=error,
    )
