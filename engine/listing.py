"""Lists of Runs, from Temporal's visibility and in its own order: unfinished first, then by end, newest first.

A page begins behind the last Run of the page before it: its end (the unfinished have the last of all times), its start
and its execution's id, which Temporal's page token holds. A Run changes its place once in its life, when it ends, and
then goes down: so whatever starts and ends between two pages, no Run that was there at the first page is left out. One
that ends meanwhile may come again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus

from contract.flow import names
from contract.flow.run import ErrorCode, ReasonType, RunCause, RunStatus, RunSummary, RunType
from engine import search
from engine.reaching import RPC_TIMEOUT


@dataclass(frozen=True)
class RunFilter:
    """Which Runs are meant: of each field that is given, one of the values."""

    statuses: frozenset[RunStatus] = frozenset()
    apis: frozenset[str] = frozenset()
    types: frozenset[RunType] = frozenset()
    auth_sessions: frozenset[str] = frozenset()
    parent: str | None = None
    """The Run that waits for them: they are its Validates."""
    started_after: datetime | None = None
    """Accepted then or later."""
    started_before: datetime | None = None
    """Accepted earlier."""


@dataclass(frozen=True)
class RunLine:
    """What a list shows of a Run."""

    run_id: str
    type: RunType
    status: RunStatus
    project: str
    api: str | None
    version: str | None
    auth_session_id: str | None
    parent_run_id: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    attempts: int
    cause: RunCause | None
    """Why it failed or was canceled."""


@dataclass(frozen=True)
class RunPage:
    """Some Runs, and where the next page begins."""

    runs: tuple[RunLine, ...]
    after: bytes | None
    """None: there is no other page."""


async def page_of(
    client: Client, workspace: str, project: str, wanted: RunFilter, *, limit: int, after: bytes | None = None
) -> RunPage:
    """One page. It may be shorter than `limit`, and even empty, with another one behind it. Raises RPCError."""
    query = query_of(project, wanted, await _ended_otherwise(client, project, wanted))
    found = client.list_workflows(query, page_size=limit, next_page_token=after, rpc_timeout=RPC_TIMEOUT)
    await found.fetch_next_page()
    lines = [await line_of(execution) for execution in found.current_page or () if await _is_of(execution, workspace)]
    return RunPage(tuple(lines), found.next_page_token or None)


def query_of(project: str, wanted: RunFilter, otherwise: Collection[WorkflowExecutionStatus] = ()) -> str:
    """What Temporal is asked for.

    Args:
        project: Whose Runs.
        wanted: Which of them.
        otherwise: How workflows of them may have ended that did not return.
    """
    parts = [
        _one_of(names.SEARCH_PROJECT, [project]),
        _one_of(names.SEARCH_RUN_TYPE, wanted.types) or f"{names.SEARCH_RUN_TYPE} IS NOT NULL",
        _one_of(names.SEARCH_API, wanted.apis),
        _one_of(names.SEARCH_AUTH_SESSION, wanted.auth_sessions),
        # Not by Temporal's own parent: a worker has started those that were good at once.
        "" if wanted.parent is None else f"WorkflowId STARTS_WITH {_quoted(names.validates_of(wanted.parent))}",
        " OR ".join(_having(status, otherwise) for status in sorted(wanted.statuses)),
        "" if wanted.started_after is None else f"StartTime >= '{_time(wanted.started_after)}'",
        "" if wanted.started_before is None else f"StartTime < '{_time(wanted.started_before)}'",
    ]
    return " AND ".join(f"({part})" for part in parts if part)


async def line_of(execution: WorkflowExecution) -> RunLine:
    """What its search attributes and its memo say."""
    found = execution.typed_search_attributes
    status = _ENDED_OTHERWISE.get(execution.status) if execution.status else None
    summary = RunSummary.model_validate(await execution.memo_value(names.MEMO_SUMMARY, {"version": ""}))
    return RunLine(
        run_id=execution.id,
        type=RunType(found[search.RUN_TYPE]),
        status=status or RunStatus(found[search.STATUS]),
        project=found[search.PROJECT],
        api=found.get(search.API),
        version=summary.version or None,
        auth_session_id=found.get(search.AUTH_SESSION),
        parent_run_id=await execution.memo_value(names.MEMO_PARENT, None),
        # A Validate may have been started only when its check was over.
        created_at=min(execution.start_time, summary.started_at or execution.start_time),
        started_at=summary.started_at,
        ended_at=summary.ended_at or execution.close_time,
        attempts=summary.attempts,
        cause=summary.cause or (_CAUSES.get(execution.status) if execution.status else None),
    )


_ENDED_OTHERWISE = {
    WorkflowExecutionStatus.FAILED: RunStatus.FAILED,
    WorkflowExecutionStatus.TIMED_OUT: RunStatus.FAILED,
    WorkflowExecutionStatus.CANCELED: RunStatus.CANCELED,
    WorkflowExecutionStatus.TERMINATED: RunStatus.CANCELED,
}
"""Runs whose workflow did not return, and so has not said how it ended: its search attribute is of before."""

_DEFECT = RunCause(word=ErrorCode.INTERNAL_SERVER_ERROR.value, message="The Run ended by an error of Callboard.")
_CAUSES = {
    WorkflowExecutionStatus.FAILED: _DEFECT,
    WorkflowExecutionStatus.TIMED_OUT: _DEFECT,
    WorkflowExecutionStatus.CANCELED: RunCause(
        word=ReasonType.CANCELLED_USER_ACTION.value, message="The Run was canceled."
    ),
    WorkflowExecutionStatus.TERMINATED: RunCause(word=ReasonType.TERMINATED.value, message="The Run was terminated."),
}
_NAMES = {
    WorkflowExecutionStatus.FAILED: "Failed",
    WorkflowExecutionStatus.TIMED_OUT: "TimedOut",
    WorkflowExecutionStatus.CANCELED: "Canceled",
    WorkflowExecutionStatus.TERMINATED: "Terminated",
}


def _having(status: RunStatus, otherwise: Collection[WorkflowExecutionStatus]) -> str:
    said = f"{names.SEARCH_STATUS} = '{status.value}' AND ExecutionStatus IN ('Running', 'Completed')"
    others = [_NAMES[ended] for ended in otherwise if _ENDED_OTHERWISE[ended] is status]
    return f"({said}) OR {_one_of('ExecutionStatus', others)}" if others else f"({said})"


async def _ended_otherwise(client: Client, project: str, wanted: RunFilter) -> list[WorkflowExecutionStatus]:
    """How Runs of the project have ended whose workflow did not return, if that is among what is wanted. Mostly none.

    Asked for beforehand and one by one, which an index answers. No index answers a list of a status or what means the
    same: where few Runs are of that status, all Runs of the project would be read for it.
    """
    ways = [ended for ended, meaning in _ENDED_OTHERWISE.items() if meaning in wanted.statuses]
    runs = f"{_one_of(names.SEARCH_PROJECT, [project])} AND {names.SEARCH_RUN_TYPE} IS NOT NULL"
    counts = await asyncio.gather(
        *(
            client.count_workflows(f"{runs} AND ExecutionStatus = '{_NAMES[way]}'", rpc_timeout=RPC_TIMEOUT)
            for way in ways
        )
    )
    return [way for way, counted in zip(ways, counts, strict=True) if counted.count > 0]


async def _is_of(execution: WorkflowExecution, workspace: str) -> bool:
    return await execution.memo_value(names.MEMO_WORKSPACE, None) == workspace


def _one_of(name: str, values: Iterable[str]) -> str:
    """Empty if there are none."""
    quoted = [_quoted(value) for value in sorted(values)]
    if len(quoted) > 1:
        return f"{name} IN ({', '.join(quoted)})"
    return f"{name} = {quoted[0]}" if quoted else ""


def _quoted(text: str) -> str:
    """A value in a query, whatever it holds."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def _time(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
