"""List Runs from Temporal's visibility, in its own order: unfinished first, then by end, newest first.

A page begins after the last Run of the page before it. Temporal's page token holds the end of that Run (the latest time
that there is, if it is unfinished), its start and its execution's id. A Run changes its place once in its life, when it
ends, and then moves down: so whatever starts and ends between two pages, no Run that was there at the first page is
left out. A Run that ends meanwhile may be listed twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus

from callboard.schemas.rest.runs import RunsFilter
from callboard.schemas.workflow import names
from callboard.schemas.workflow.handoff import Handoff
from callboard.schemas.workflow.run import ErrorCode, RunCause, RunOutcome, RunStatus, RunSummary, RunType
from callboard.temporal import closing
from callboard.temporal.handoffs import first_open, read_handoffs
from callboard.temporal.rpc_errors import RPC_TIMEOUT, translate_rpc_errors
from callboard.temporal.visibility_queries import equals, is_one_of, starts_with
from workflows import visibility
from workflows.outcomes import cause_of


@dataclass(frozen=True)
class RunFilter:
    """Filter of a list of Runs: a Run must have one of the values of each field that is given, and all tags."""

    statuses: frozenset[RunStatus] = frozenset()
    apis: frozenset[str] = frozenset()
    types: frozenset[RunType] = frozenset()
    auth_sessions: frozenset[str] = frozenset()
    jobs: frozenset[str] = frozenset()
    job_runs: frozenset[str] = frozenset()
    error_codes: frozenset[ErrorCode] = frozenset()
    tags: frozenset[str] = frozenset()
    """Lists Runs that have all of these tags."""
    run_ids: frozenset[str] = frozenset()
    id_prefix: str = ""
    """Lists Runs whose ids begin with this."""
    parent_run_id: str | None = None
    """The Run that waits for the listed Runs, which are its Validates."""
    created_after: datetime | None = None
    """Lists Runs that were created at this time or later."""
    created_before: datetime | None = None
    """Lists Runs that were created before this time."""
    ended_after: datetime | None = None
    """Lists Runs that have ended at this time or later."""
    ended_before: datetime | None = None
    """Lists Runs that have ended before this time."""

    @classmethod
    def of(cls, wanted: RunsFilter) -> Self:
        """Return the filter that somebody has asked for."""
        return cls(
            statuses=frozenset(wanted.status),
            types=frozenset(wanted.type),
            apis=frozenset(wanted.api),
            auth_sessions=frozenset(wanted.auth_session),
            jobs=frozenset(wanted.job_id),
            job_runs=frozenset(wanted.job_run_id),
            error_codes=frozenset(wanted.error_code),
            tags=frozenset(wanted.tag),
            run_ids=frozenset(wanted.run_id),
            id_prefix=wanted.q or "",
            created_after=wanted.started_after,
            created_before=wanted.started_before,
        )

    def has_same_case(self, run: RunListItem) -> bool:
        """Tell whether a listed Run is spelt as the filter says: some databases take capitals for small letters."""
        is_named = not self.run_ids or run.run_id in self.run_ids
        return is_named and run.run_id.startswith(self.id_prefix) and self.tags.issubset(run.tags)


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
    job_id: str | None
    job_run_id: str | None
    tags: tuple[str, ...]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    attempts: int
    waits_until: datetime | None
    """When its last wait for another Attempt ends, or has ended."""
    cause: RunCause | None
    """Why the Run failed or was canceled."""
    parameters: str
    """The beginning of the JSON text of its parameters; empty if there are none here."""
    result: str
    """The beginning of the JSON text of its result; empty if there is none here."""
    handoff: Handoff | None
    """The first of its Handoffs that are open."""


@dataclass(frozen=True)
class RunPage:
    """Some Runs, and where the next page begins."""

    runs: tuple[RunListItem, ...]
    next_page_token: bytes | None
    """Token of the next page; None if there is no other page."""


def build_query(project: str, run_filter: RunFilter, abnormal: Collection[RunStatus] = ()) -> str:
    """Return the visibility query for the Runs; `abnormal` is what `abnormal_statuses` returns for the same filter."""
    conditions = [
        is_one_of(names.SEARCH_PROJECT, [project]),
        is_one_of(names.SEARCH_RUN_TYPE, run_filter.types) or f"{names.SEARCH_RUN_TYPE} IS NOT NULL",
        is_one_of(names.SEARCH_API, run_filter.apis),
        is_one_of(names.SEARCH_AUTH_SESSION, run_filter.auth_sessions),
        is_one_of(names.SEARCH_JOB, run_filter.jobs),
        is_one_of(names.SEARCH_JOB_RUN, run_filter.job_runs),
        _error_condition(run_filter.error_codes, abnormal),
        *(equals(names.SEARCH_TAGS, tag) for tag in sorted(run_filter.tags)),
        is_one_of("WorkflowId", run_filter.run_ids),
        starts_with("WorkflowId", run_filter.id_prefix) if run_filter.id_prefix else "",
        "" if run_filter.parent_run_id is None else equals("ParentWorkflowId", run_filter.parent_run_id),
        " OR ".join(_status_condition(status, abnormal) for status in sorted(run_filter.statuses)),
        "" if run_filter.created_after is None else f"StartTime >= '{_format_time(run_filter.created_after)}'",
        "" if run_filter.created_before is None else f"StartTime < '{_format_time(run_filter.created_before)}'",
        "" if run_filter.ended_after is None else f"CloseTime >= '{_format_time(run_filter.ended_after)}'",
        "" if run_filter.ended_before is None else f"CloseTime < '{_format_time(run_filter.ended_before)}'",
    ]
    return " AND ".join(f"({part})" for part in conditions if part)


async def list_ended(client: Client, since: datetime) -> list[RunListItem]:
    """Return the Runs, in all projects, that have ended since then, the last one first. None of them is for another.

    Raises:
        ConfigurationError: Temporal refuses: the namespace or its search attributes are missing.
        Unavailable: Temporal cannot be reached.
    """
    ended = f"{names.SEARCH_RUN_TYPE} IS NOT NULL AND CloseTime >= '{_format_time(since)}'"
    with translate_rpc_errors():
        found = client.list_workflows(ended, rpc_timeout=RPC_TIMEOUT)
        runs = [await read_list_item(execution) async for execution in found]
    return [run for run in runs if run.parent_run_id is None]


async def list_waiting(client: Client) -> list[RunListItem]:
    """Return the Runs, in all projects, of which a Handoff is open. Raises as `list_ended` does."""
    with translate_rpc_errors():
        query = f"{names.SEARCH_HANDOFF} IS NOT NULL AND ExecutionStatus = 'Running'"
        found = client.list_workflows(query, rpc_timeout=RPC_TIMEOUT)
        return [await read_list_item(execution) async for execution in found]


async def read_list_item(execution: WorkflowExecution) -> RunListItem:
    """Return a Run as lists show it, from the search attributes and the memo of its workflow."""
    attributes = execution.typed_search_attributes
    completed = execution.status is WorkflowExecutionStatus.COMPLETED
    status = RunStatus.COMPLETED if completed else RunStatus(attributes[visibility.STATUS])
    abnormal_outcome = _abnormal_outcome(execution, status)
    summary = RunSummary.model_validate(await execution.memo_value(names.MEMO_SUMMARY))
    return RunListItem(
        run_id=execution.id,
        type=RunType(attributes[visibility.RUN_TYPE]),
        status=abnormal_outcome.status if abnormal_outcome else status,
        project=attributes[visibility.PROJECT],
        api=attributes.get(visibility.API),
        version=summary.version,
        auth_session_id=attributes.get(visibility.AUTH_SESSION),
        parent_run_id=await execution.memo_value(names.MEMO_PARENT, None),
        job_id=attributes.get(visibility.JOB),
        job_run_id=attributes.get(visibility.JOB_RUN),
        tags=tuple(attributes.get(visibility.TAGS) or ()),
        created_at=execution.start_time,
        started_at=summary.started_at,
        ended_at=execution.close_time,
        attempts=summary.attempts,
        waits_until=summary.waits_until,
        cause=cause_of(abnormal_outcome) if abnormal_outcome else summary.cause,
        parameters=summary.parameters,
        result=summary.result,
        handoff=first_open(await read_handoffs(execution)),
    )


_ABNORMAL_OUTCOMES = {
    WorkflowExecutionStatus.FAILED: closing.INTERNAL_ERROR,
    WorkflowExecutionStatus.TIMED_OUT: closing.INTERNAL_ERROR,
    WorkflowExecutionStatus.CANCELED: closing.CANCELED,
    WorkflowExecutionStatus.TERMINATED: closing.TERMINATED,
}
"""Outcome of a Run whose workflow is closed, although its search attribute says that it has not ended: the workflow
did not close by itself, and so could not set it."""

_UNFINISHED = frozenset({RunStatus.PENDING, RunStatus.STARTED})


def _abnormal_outcome(execution: WorkflowExecution, recorded_status: RunStatus) -> RunOutcome | None:
    return _ABNORMAL_OUTCOMES.get(execution.status) if execution.status and recorded_status in _UNFINISHED else None


def _status_condition(status: RunStatus, abnormal: Collection[RunStatus]) -> str:
    if status is RunStatus.COMPLETED:  # its search attribute is that of a Run that has not ended
        return "(ExecutionStatus = 'Completed')"
    has_status = f"{names.SEARCH_STATUS} = '{status.value}'"
    if status in _UNFINISHED:
        return f"({has_status} AND ExecutionStatus = 'Running')"
    return f"({has_status}) OR ({_abnormal_condition(status)})" if status in abnormal else f"({has_status})"


def _error_condition(codes: Collection[ErrorCode], abnormal: Collection[RunStatus]) -> str:
    has_code = is_one_of(names.SEARCH_ERROR_CODE, codes)
    if ErrorCode.INTERNAL_SERVER_ERROR in codes and RunStatus.FAILED in abnormal:
        return f"({has_code}) OR ({_abnormal_condition(RunStatus.FAILED)})"
    return has_code


def _abnormal_condition(status: RunStatus) -> str:
    close_statuses = [
        close_status.name.title().replace("_", "")  # as queries name it, such as TimedOut
        for close_status, outcome in _ABNORMAL_OUTCOMES.items()
        if outcome.status is status
    ]
    return f"{is_one_of(names.SEARCH_STATUS, _UNFINISHED)} AND {is_one_of('ExecutionStatus', close_statuses)}"


async def abnormal_statuses(client: Client, project: str, run_filter: RunFilter) -> frozenset[RunStatus]:
    """Return the wanted statuses of Runs of the project whose workflows closed abnormally; mostly there are none.

    They are counted beforehand and one by one, which an index answers. No index answers a query for a status or its
    abnormal equivalent: where few Runs have that status, all Runs of the project would be read for it.
    """
    wanted = set(run_filter.statuses)
    if ErrorCode.INTERNAL_SERVER_ERROR in run_filter.error_codes:
        wanted.add(RunStatus.FAILED)
    statuses = sorted(wanted - _UNFINISHED - {RunStatus.COMPLETED})
    runs = f"{is_one_of(names.SEARCH_PROJECT, [project])} AND {names.SEARCH_RUN_TYPE} IS NOT NULL"
    counts = await asyncio.gather(
        *(
            client.count_workflows(f"{runs} AND {_abnormal_condition(status)}", rpc_timeout=RPC_TIMEOUT)
            for status in statuses
        )
    )
    return frozenset(status for status, counted in zip(statuses, counts, strict=True) if counted.count > 0)


def _format_time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
