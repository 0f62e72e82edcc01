"""What is told of Runs: in lists, and all that is known of one, with its input, whose secrets are masked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from api.attempts.artifacts import list_attempts, trace_link
from api.deliveries import list_deliveries
from api.dependencies import Services
from api.fleet import read_machines
from api.http.cursors import decode_cursor, encode_cursor
from api.runs.result import returned_values
from callboard.schemas.rest.base import ResponseModel
from callboard.schemas.rest.handoffs import OpenHandoff
from callboard.schemas.rest.run_result import cause_json
from callboard.schemas.rest.runs import (
    ErrorSummary,
    HandoffWait,
    LeaseQueue,
    QueueState,
    ReasonSummary,
    RetryWait,
    RunBody,
    RunList,
    RunsQuery,
    RunSummaryBody,
    RunValidate,
    TemporalLink,
)
from callboard.schemas.workflow import names
from callboard.schemas.workflow.actor import Actor
from callboard.schemas.workflow.auth_session import CreateInput, ValidateInput
from callboard.schemas.workflow.run import RunInput, RunStatus
from callboard.security.secret_detection import is_secret_name
from callboard.starts.lookup import find_auth_session
from callboard.starts.masked_input import masked_input
from callboard.storage import object_keys
from callboard.storage.raw_json import RawJson, dump_object, load_json
from callboard.temporal.listing import RunFilter, RunListItem
from callboard.temporal.run_queries import RunDetails, ValidateListItem


async def list_runs(services: Services, project: str, query: RunsQuery) -> RunList:
    """Return a page of a project's Runs.

    Raises:
        BadRequest: The cursor does not belong to this list.
        Unavailable: Temporal does not answer.
    """
    list_id = f"{project} {_list_id(query)}"
    after = None if query.cursor is None else decode_cursor(query.cursor, list_id)
    page = await services.run_queries.list_runs(
        services.settings.workspace, project, RunFilter.of(query), limit=query.limit, page_token=after
    )
    return RunList(
        runs=[run_summary(item) for item in page.runs],
        next_cursor=None if page.next_page_token is None else encode_cursor(page.next_page_token, list_id),
    )


def run_summary(item: RunListItem) -> RunSummaryBody:
    """Return a Run as lists show it."""
    cause = item.cause
    error = reason = None
    if cause is not None and item.status is RunStatus.FAILED:
        error = ErrorSummary.model_validate({"code": cause.code, "message": cause.message})
    elif cause is not None:
        reason = ReasonSummary.model_validate({"type": cause.code, "message": cause.message})
    return RunSummaryBody(
        run_id=item.run_id,
        type=item.type,
        status=item.status,
        api=item.api,
        project=item.project,
        version=item.version,
        auth_session_id=item.auth_session_id,
        parent_run_id=item.parent_run_id,
        job_id=item.job_id,
        job_run_id=item.job_run_id,
        tags=list(item.tags),
        created_at=item.created_at,
        started_at=item.started_at,
        ended_at=item.ended_at,
        attempt_count=item.attempts,
        handoff=OpenHandoff.of(item.handoff),
        error=error,
        reason=reason,
        waits_until=_next_attempt(item),
        parameters_in_short=_in_short(item.parameters),
        result_in_short=_in_short(item.result),
    )


def _next_attempt(item: RunListItem) -> datetime | None:
    waits = item.status is RunStatus.STARTED and item.waits_until is not None and item.waits_until > datetime.now(UTC)
    return item.waits_until if waits else None


_ESCAPE = re.compile(r"\\\\|((?:\\u[0-9a-fA-F]{4})+)")
_MEMBER = re.compile(r'"((?:[^"\\]|\\.)*)": ?("(?:[^"\\]|\\.)*"?|[^,{}\[\]]*)')


def _in_short(beginning: str) -> str:
    """Return the beginning of a JSON text as people read it, with what its names say is secret masked."""
    masked = _MEMBER.sub(lambda member: f'"{member[1]}": "***"' if is_secret_name(member[1]) else member[0], beginning)
    return (
        _ESCAPE.sub(lambda escape: json.loads(f'"{escape[1]}"') if escape[1] else escape[0], masked)
        .encode("utf-8", "replace")
        .decode()
    )


async def list_validates(services: Services, details: RunDetails) -> list[ValidateListItem]:
    """Return the Validates that a Run has waited for, in order. Raises Unavailable."""
    if not isinstance(details.input, RunInput) or details.input.auth is None:
        return []
    return await services.run_queries.list_validates(services.settings.workspace, details.list_item)


async def run_json(services: Services, details: RunDetails, validates: Iterable[ValidateListItem]) -> RawJson:
    """Return all that is known of a Run, as a `RunBody`.

    Raises:
        StoreError, Unavailable: The artifact store, or Temporal, does not answer.
    """
    outcome, run = details.state.outcome, details.input
    project, run_id = details.list_item.project, details.list_item.run_id
    of_lists = RunSummaryBody.model_fields.keys() - RunBody.model_fields.keys()
    members = run_summary(details.list_item).model_dump(mode="json", by_alias=True, exclude=of_lists)
    members["error"] = outcome and cause_json(outcome.error)
    members["reason"] = outcome and cause_json(outcome.reason)
    members["input"] = await _input_json(services, details)
    if outcome is not None:
        members |= await returned_values(outcome, run_id, services.store)
    attempts = await list_attempts(services, project, run_id)
    delivers = details.has_told or (isinstance(run, RunInput) and run.sink is not None)
    deliveries = await list_deliveries(services, project, run_id) if delivers else []
    url = services.temporal_ui_url("workflows", run_id, details.execution_id, "history")
    members |= {
        "rerunOf": details.rerun_of,
        "startedBy": None if (by := _started_by(run)) is None else by.model_dump(),
        "canceledBy": None if outcome is None or outcome.canceled_by is None else outcome.canceled_by.model_dump(),
        "reruns": await _rerun_ids(services, project, run_id),
        "attempts": [_dump(attempt) for attempt in attempts],
        "validates": [_dump(_validate_body(each)) for each in validates],
        "deliveries": [_dump(delivery, exclude_none=True) for delivery in deliveries],
        "waiting": None if (waiting := await _waiting(services, details)) is None else _dump(waiting),
        "temporal": _dump(TemporalLink(workflow_id=run_id, url=url)),
        "openTelemetry": None if (link := trace_link(services, details.trace_id)) is None else _dump(link),
    }
    return dump_object(members)


def _started_by(run: RunInput | ValidateInput | CreateInput) -> Actor | None:
    return run.spec.started_by if isinstance(run, CreateInput) else run.started_by


async def _input_json(services: Services, details: RunDetails) -> RawJson:
    members = masked_input(details.input)
    if isinstance(details.input, RunInput):
        run_id = details.list_item.run_id
        parameters = await load_json(details.input.parameters, "parameters", run_id, services.store)
        members = {"api": members.pop("api"), "parameters": parameters, **members}
    return dump_object(members)


async def _rerun_ids(services: Services, project: str, run_id: str) -> list[str]:
    prefix = object_keys.reruns(project, run_id)
    return [key.removeprefix(prefix).removesuffix(".json") async for key in services.store.list(prefix)]


def _validate_body(validate: ValidateListItem) -> RunValidate:
    return RunValidate(
        run_id=validate.run.run_id,
        attempt=names.attempt_of_validate(validate.run.run_id),
        status=validate.run.status,
        create_run_id=validate.create_run_id,
    )


async def _waiting(services: Services, details: RunDetails) -> QueueState | RetryWait | HandoffWait | None:
    if (handoff := details.state.handoff) is not None:
        return HandoffWait(handoff=handoff.id, until=handoff.expires_at)
    until = details.list_item.waits_until
    if details.list_item.status is RunStatus.STARTED and until is not None and until > datetime.now(UTC):
        return RetryWait(until=until)
    if details.list_item.status is not RunStatus.PENDING:
        return None
    project = await services.catalog.get_current(details.list_item.project)
    machines = None if project is None else (await read_machines(services, [project]))[project.project]
    return QueueState(
        ahead=await services.run_queries.count_waiting(
            details.list_item.project, created_before=details.list_item.created_at
        ),
        machines_busy=machines and machines.busy,
        machines=machines and machines.held,
        paused=details.state.paused,
        preparing=details.state.preparing,
        lease=await _lease_queue(services, details),
    )


async def _lease_queue(services: Services, details: RunDetails) -> LeaseQueue | None:
    """Return the queue for the login of a pending Run or Validate; None if it waits for none. Raises Unavailable."""
    run, run_id = details.input, details.list_item.run_id
    auth_session = details.list_item.auth_session_id
    if isinstance(run, CreateInput) or not run.takes_lease or auth_session is None:
        return None
    view = await find_auth_session(services, details.list_item.project, auth_session)
    if view is None or view.lease.holder in (None, run_id):
        return None
    line = view.lease.next
    place = line.index(run_id) + 1 if run_id in line else None
    return LeaseQueue(held_by=view.lease.holder, waiting=view.lease.waiting, place=place)


def _dump(body: ResponseModel, *, exclude_none: bool = False) -> dict[str, Any]:
    return body.model_dump(mode="json", by_alias=True, exclude_none=exclude_none)


def _list_id(query: RunsQuery) -> str:
    """Return a text that is equal for two queries that ask for the same list."""
    wanted: dict[str, str | list[str] | None] = query.model_dump(mode="json", exclude={"limit", "cursor"})
    same = {name: sorted(set(value)) if isinstance(value, list) else value for name, value in wanted.items()}
    return json.dumps(same)
