"""List Runs from Temporal's visibility, in its own order: unfinished first, then by end, newest first.

A page begins after the last Run of the page before it: its end (unfinished Runs have the latest time that there is),
its start and its execution's id, which Temporal's page token holds. A Run changes its place once in its life, when it
ends, and then moves down: so whatever starts and ends between two pages, no Run that was there at the first page is
left out. A Run that ends meanwhile may be listed twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus

from schemas.workflow import names
from schemas.workflow.run import RunCause, RunOutcome, RunStatus, RunSummary, RunType
from temporal import closing, search_attributes
from temporal.rpc_errors import RPC_TIMEOUT
from workflows.outcomes import cause_of


@dataclass(frozen=True)
class RunFilter:
    """Filter of a list of Runs: a Run must have one of the values of each field that is given."""

    statuses: frozenset[RunStatus] = frozenset()
    apis: frozenset[str] = frozenset()
    types: frozenset[RunType] = frozenset()
    auth_sessions: frozenset[str] = frozenset()
    parent: str | None = None
    """The Run that waits for the listed Runs, which are its Validates."""
    started_after: datetime | None = None
    """Lists Runs that were created at this time or later."""
    started_before: datetime | None = None
    """Lists Runs that were created before this time."""


@dataclass(frozen=True)
class RunListItem:
    """What a list shows of a Run."""

    run_id: str
    type: RunType
    status: RunStatus
    project: str
    api: str | None
    version: str
    auth_session_id: str | None
    parent_run_id: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    attempts: int
    cause: RunCause | None
    """Why the Run failed or was canceled."""


@dataclass(frozen=True)
class RunPage:
    """Some Runs, and where the next page begins."""

    runs: tuple[RunListItem, ...]
    after: bytes | None
    """Token of the next page; None if there is no other page."""


async def page_of(
    client: Client, workspace: str, project: str, wanted: RunFilter, *, limit: int, after: bytes | None = None
) -> RunPage:
    """Return one page, which may be shorter than `limit`, or even empty, although another page follows.

    Raises RPCError.
    """
    query = query_of(project, wanted, await _abnormal_statuses(client, project, wanted))
    found = client.list_workflows(query, page_size=limit, next_page_token=after, rpc_timeout=RPC_TIMEOUT)
    await found.fetch_next_page()
    lines = [await line_of(execution) for execution in found.current_page or () if await _is_of(execution, workspace)]
    return RunPage(tuple(lines), found.next_page_token or None)


def query_of(project: str, wanted: RunFilter, abnormal: Collection[RunStatus] = ()) -> str:
    """Return the visibility query for the Runs.

    Args:
        project: The project of the Runs.
        wanted: The filter.
        abnormal: The statuses of Runs among them whose workflows closed abnormally.
    """
    parts = [
        _one_of(names.SEARCH_PROJECT, [project]),
        _one_of(names.SEARCH_RUN_TYPE, wanted.types) or f"{names.SEARCH_RUN_TYPE} IS NOT NULL",
        _one_of(names.SEARCH_API, wanted.apis),
        _one_of(names.SEARCH_AUTH_SESSION, wanted.auth_sessions),
        "" if wanted.parent is None else f"ParentWorkflowId = {_quoted(wanted.parent)}",
        " OR ".join(_with_status(status, abnormal) for status in sorted(wanted.statuses)),
        "" if wanted.started_after is None else f"StartTime >= '{_time(wanted.started_after)}'",
        "" if wanted.started_before is None else f"StartTime < '{_time(wanted.started_before)}'",
    ]
    return " AND ".join(f"({part})" for part in parts if part)


async def line_of(execution: WorkflowExecution) -> RunListItem:
    """Return what search attributes and memo say about a Run."""
    found = execution.typed_search_attributes
    status = RunStatus(found[search_attributes.STATUS])
    abnormal = _abnormal_outcome(execution, status)
    summary = RunSummary.model_validate(await execution.memo_value(names.MEMO_SUMMARY))
    return RunListItem(
        run_id=execution.id,
        type=RunType(found[search_attributes.RUN_TYPE]),
        status=abnormal.status if abnormal else status,
        project=found[search_attributes.PROJECT],
        api=found.get(search_attributes.API),
        version=summary.version,
        auth_session_id=found.get(search_attributes.AUTH_SESSION),
        parent_run_id=await execution.memo_value(names.MEMO_PARENT, None),
        created_at=execution.start_time,
        started_at=summary.started_at,
        ended_at=execution.close_time,
        attempts=summary.attempts,
        cause=cause_of(abnormal) if abnormal else summary.cause,
    )


_CLOSED_ABNORMALLY = {
    WorkflowExecutionStatus.FAILED: closing.DEFECT,
    WorkflowExecutionStatus.TIMED_OUT: closing.DEFECT,
    WorkflowExecutionStatus.CANCELED: closing.CANCELED,
    WorkflowExecutionStatus.TERMINATED: closing.TERMINATED,
}
"""Outcome of a Run whose workflow is closed, although its search attribute says that it has not ended: the workflow
did not close by itself, and so could not set it."""

_CLOSE_STATUSES = {
    WorkflowExecutionStatus.FAILED: "Failed",
    WorkflowExecutionStatus.TIMED_OUT: "TimedOut",
    WorkflowExecutionStatus.CANCELED: "Canceled",
    WorkflowExecutionStatus.TERMINATED: "Terminated",
}
"""Names of the close statuses in visibility queries."""

_UNFINISHED = frozenset({RunStatus.PENDING, RunStatus.STARTED})


def _abnormal_outcome(execution: WorkflowExecution, said: RunStatus) -> RunOutcome | None:
    closed = execution.status is not None and execution.status is not WorkflowExecutionStatus.RUNNING
    return _CLOSED_ABNORMALLY.get(execution.status) if closed and execution.status and said in _UNFINISHED else None


def _with_status(status: RunStatus, abnormal: Collection[RunStatus]) -> str:
    of_status = f"{names.SEARCH_STATUS} = '{status.value}'"
    if status in _UNFINISHED:
        return f"({of_status} AND ExecutionStatus = 'Running')"
    return f"({of_status}) OR ({_abnormal_with(status)})" if status in abnormal else f"({of_status})"


def _abnormal_with(status: RunStatus) -> str:
    closes = [_CLOSE_STATUSES[close] for close, outcome in _CLOSED_ABNORMALLY.items() if outcome.status is status]
    return f"{_one_of(names.SEARCH_STATUS, _UNFINISHED)} AND {_one_of('ExecutionStatus', closes)}"


async def _abnormal_statuses(client: Client, project: str, wanted: RunFilter) -> frozenset[RunStatus]:
    """Return the wanted statuses of Runs of the project whose workflows closed abnormally; mostly there are none.

    They are counted beforehand and one by one, which an index answers. No index answers a query for a status or its
    abnormal equivalent: where few Runs have that status, all Runs of the project would be read for it.
    """
    statuses = sorted(wanted.statuses - _UNFINISHED - {RunStatus.COMPLETED})
    runs = f"{_one_of(names.SEARCH_PROJECT, [project])} AND {names.SEARCH_RUN_TYPE} IS NOT NULL"
    counts = await asyncio.gather(
        *(
            client.count_workflows(f"{runs} AND {_abnormal_with(status)}", rpc_timeout=RPC_TIMEOUT)
            for status in statuses
        )
    )
    return frozenset(status for status, counted in zip(statuses, counts, strict=True) if counted.count > 0)


async def _is_of(execution: WorkflowExecution, workspace: str) -> bool:
    return await execution.memo_value(names.MEMO_WORKSPACE, None) == workspace


def _one_of(name: str, values: Iterable[str]) -> str:
    """Return a condition that the attribute has one of the values; empty if there are no values."""
    quoted = [_quoted(value) for value in sorted(values)]
    if len(quoted) > 1:
        return f"{name} IN ({', '.join(quoted)})"
    return f"{name} = {quoted[0]}" if quoted else ""


def _quoted(text: str) -> str:
    """Return a value quoted for a query, whatever characters it contains."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def _time(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
