"""List JobRuns from Temporal's visibility, and read what is known of one without its history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus

from schemas.rest.job_runs import SortField
from schemas.workflow import names
from schemas.workflow.job_run import (
    JobRunProgress,
    JobRunReason,
    JobRunReasonType,
    JobRunStatus,
    JobRunType,
    JobRunView,
)
from temporal.rpc_errors import RPC_TIMEOUT
from temporal.visibility_queries import equals, quote

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


async def read_last_run_time(client: Client, project: str, job_id: str) -> datetime | None:
    """Return when the last JobRun of a Job began that has ended; None if none has. Raises RPCError.

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
        status=status,
        started_at=view.started_at or execution.start_time,
        ended_at=view.ended_at or (execution.close_time if ended else None),
        updated_at=view.updated_at or execution.start_time,
        progress=view.progress,
        version=view.version,
        reason=reason,
        error=error,
    )


_LATEST = datetime.max.replace(tzinfo=UTC)

SORTED_BY: dict[SortField, Callable[[JobRunState], Any]] = {
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
