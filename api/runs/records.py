"""Answers that list Runs, and the answer that holds all that is known of one Run."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from api.attempts.records import attempts_of
from api.deliveries.records import deliveries_of
from api.dependencies import Services
from api.http.cursor import cursor_of, place_of
from api.http.raw_json import member, object_of, raw_member, text_of
from api.runs.input_view import shown_input
from api.runs.outcome_json import error_body, reason_body
from api.runs.result import returned
from schemas.rest.base import ResponseModel
from schemas.rest.runs import (
    ErrorInShort,
    ReasonInShort,
    RunList,
    RunsQuery,
    RunSummaryBody,
    TemporalLink,
    ValidateOfRun,
    Waiting,
)
from schemas.workflow.run import RunInput, RunStatus
from storage import keys
from temporal.listing import RunFilter, RunListItem
from temporal.pool_usage import Machines
from temporal.run_queries import RunRecord


async def run_list(parts: Services, project: str, query: RunsQuery) -> RunList:
    """Return a page of a project's Runs.

    Raises:
        BadRequest: The cursor does not belong to this list.
        Unavailable: Temporal does not answer.
    """
    wanted = RunFilter(
        statuses=frozenset(query.status),
        types=frozenset(query.type),
        apis=frozenset(query.api),
        auth_sessions=frozenset(query.auth_session),
        started_after=query.started_after,
        started_before=query.started_before,
    )
    which = f"{project} {_canonical(query)}"
    after = None if query.cursor is None else place_of(query.cursor, which)
    page = await parts.records.page(parts.settings.workspace, project, wanted, limit=query.limit, after=after)
    return RunList(
        runs=[summary_of(line) for line in page.runs],
        next_cursor=None if page.after is None else cursor_of(page.after, which),
    )


def summary_of(line: RunListItem) -> RunSummaryBody:
    """Return a Run as lists show it."""
    cause = line.cause
    error = reason = None
    if cause is not None and line.status is RunStatus.FAILED:
        error = ErrorInShort.model_validate({"code": cause.word, "message": cause.message})
    elif cause is not None:
        reason = ReasonInShort.model_validate({"type": cause.word, "message": cause.message})
    return RunSummaryBody(
        run_id=line.run_id,
        type=line.type,
        status=line.status,
        api=line.api,
        project=line.project,
        version=line.version,
        auth_session_id=line.auth_session_id,
        parent_run_id=line.parent_run_id,
        created_at=line.created_at,
        started_at=line.started_at,
        ended_at=line.ended_at,
        attempt_count=line.attempts,
        error=error,
        reason=reason,
    )


async def run_body(parts: Services, project: str, run_id: str) -> bytes:
    """Return all that is known of a Run, as the JSON text of a `RunBody`.

    Raises:
        NotFound: There is no such Run.
        StoreError, Unavailable: The artifact store, or Temporal, does not answer.
    """
    record = await parts.records.record(parts.settings.workspace, project, run_id)
    outcome, order = record.state.outcome, record.order
    summary = _json(summary_of(record.line))
    summary["error"] = None if outcome is None or outcome.error is None else error_body(outcome.error)
    summary["reason"] = None if outcome is None or outcome.reason is None else reason_body(outcome.reason)
    members = [member(name, value) for name, value in summary.items()]
    members.append(raw_member("input", await _input(parts, record)))
    if outcome is not None:
        members += await returned(outcome, run_id, parts.store)
    attempts = await attempts_of(parts, project, run_id)
    has_sink = isinstance(order, RunInput) and order.sink is not None
    deliveries = await deliveries_of(parts, project, run_id) if has_sink else []
    members += [
        member("rerunOf", record.rerun_of),
        member("reruns", await _reruns(parts, project, run_id)),
        member("attempts", [_json(attempt) for attempt in attempts]),
        member("validates", [_json(validate) for validate in await _validates(parts, record)]),
        member("deliveries", [_json(delivery, exclude_none=True) for delivery in deliveries]),
        member("waiting", _json(await _waiting(parts, record)) if record.line.status is RunStatus.PENDING else None),
        member("temporal", _json(_link(parts, record))),
    ]
    return object_of(members)


async def _input(parts: Services, record: RunRecord) -> bytes:
    members = [member(name, value) for name, value in shown_input(record.order).items()]
    if isinstance(record.order, RunInput):
        text = await text_of(record.order.parameters, "parameters", record.line.run_id, parts.store)
        members.insert(1, raw_member("parameters", text))
    return object_of(members)


async def _reruns(parts: Services, project: str, run_id: str) -> list[str]:
    prefix = keys.reruns(project, run_id)
    return [key.removeprefix(prefix).removesuffix(".json") async for key in parts.store.list(prefix)]


async def _validates(parts: Services, record: RunRecord) -> list[ValidateOfRun]:
    if not isinstance(record.order, RunInput) or record.order.auth is None:
        return []
    lines = await parts.records.validates(parts.settings.workspace, record.line)
    return [
        ValidateOfRun(
            run_id=line.run.run_id,
            attempt=int(line.run.run_id.rpartition("-v")[2]),
            status=line.run.status,
            create_run_id=line.create_run_id,
        )
        for line in lines
    ]


async def _waiting(parts: Services, record: RunRecord) -> Waiting:
    machines = await parts.records.machines()
    its = None if machines is None else machines.get(record.line.project, Machines())
    return Waiting(
        ahead=await parts.records.ahead(record.line),
        machines_busy=None if its is None else its.busy,
        machines=None if its is None else its.offered,
        paused=record.state.paused,
    )


def _link(parts: Services, record: RunRecord) -> TemporalLink:
    settings, run_id = parts.settings, record.line.run_id
    url = None
    if settings.temporal_ui_url is not None:
        namespace = quote(settings.temporal_namespace, safe="")
        place = f"namespaces/{namespace}/workflows/{quote(run_id, safe='')}/{record.execution}/history"
        url = f"{settings.temporal_ui_url.rstrip('/')}/{place}"
    return TemporalLink(workflow_id=run_id, url=url)


def _json(body: ResponseModel, *, exclude_none: bool = False) -> dict[str, Any]:
    return body.model_dump(mode="json", by_alias=True, exclude_none=exclude_none)


def _canonical(query: RunsQuery) -> str:
    """Return a text that is equal for two queries that ask for the same list."""
    values = {name: sorted(set(getattr(query, name))) for name in ("status", "type", "api", "auth_session")}
    times = [when and when.timestamp() for when in (query.started_after, query.started_before)]
    return json.dumps([values, times])
