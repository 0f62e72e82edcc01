"""The audit: the call that lists it, which is Callboard's own (docs/contract.md, section 20), and its page."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import Query, Request
from pydantic import ValidationError
from starlette.datastructures import QueryParams
from starlette.responses import Response

from api.dashboard.page_route import page_router
from api.dashboard.rendering import render_page
from api.dependencies import ServicesDep
from api.http.access import requires
from api.http.cursors import decode_cursor, encode_cursor
from api.workspace_router import workspace_router
from callboard.schemas.errors import BadRequest, Forbidden
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.audit import WORDS_OF_IDS, AuditList, AuditQuery
from callboard.schemas.rest.field_errors import field_error, validation_error
from callboard.storage.audit_log import AuditFilter, AuditLog

_REST = workspace_router("/audit", BadRequest, Forbidden, tag="Audit", below="")
_PAGE = page_router("/audit")
routers = (_REST, _PAGE)

_READING = [requires(Scope.ADMIN)]

_REPEATABLE = ("actor", "action", "project")
_TIMES = ("since", "until")


@_REST.get("", dependencies=_READING, operation_id="listAudit", summary="List the audit")
async def list_all(services: ServicesDep, query: Annotated[AuditQuery, Query()]) -> AuditList:
    """List who has changed what, and who was refused, newest first. The key must be for all projects.

    A page may have fewer entries than `limit` although another page follows.
    """
    wanted = AuditFilter(
        actors=frozenset(query.actor),
        actions=frozenset(query.action),
        projects=frozenset(query.project),
        since=query.since,
        until=query.until,
    )
    list_id = f"audit {_list_id(query)}"
    after = None if query.cursor is None else decode_cursor(query.cursor, list_id).decode("utf-8", "replace")
    try:
        found = await AuditLog(services.store).list_page(wanted, limit=query.limit, after=after)
    except ValueError as error:
        raise field_error("cursor", "the nextCursor of a page of this list, with the same filters") from error
    next_cursor = None if found.next_place is None else encode_cursor(found.next_place.encode(), list_id)
    return AuditList(entries=found.entries, next_cursor=next_cursor)


@_PAGE.get("", dependencies=_READING)
@_PAGE.get(".json", dependencies=_READING)
async def page(request: Request, services: ServicesDep) -> Response:
    """Show a page of the audit; the filters are in the query."""
    params = request.query_params
    filters = _read_filters(params)
    return render_page(
        request,
        "audit.html",
        (await list_all(services, _parse_query(params, filters))).model_dump(mode="json", by_alias=True),
        filters=filters,
        is_filtered=any(filters.values()),
        cursor=params.get("cursor"),
        words_of_ids=WORDS_OF_IDS,
    )


def _list_id(query: AuditQuery) -> str:
    """Return a text that is equal for two queries that ask for the same list."""
    values = [sorted(set(each)) for each in (query.actor, query.action, query.project)]
    return json.dumps([values, [when and when.timestamp() for when in (query.since, query.until)]])


def _read_filters(params: QueryParams) -> dict[str, Any]:
    """Return the filters in an address. Empty fields, as forms send them, are ignored."""
    several = {name: [value for value in params.getlist(name) if value] for name in _REPEATABLE}
    return {**several, **{name: _with_zone(params.get(name)) for name in _TIMES}}


def _with_zone(time: str | None) -> str | None:
    """Return a time of a form's field, which has no zone and is meant in UTC, as the API takes it."""
    return f"{time}Z" if time and len(time) == len("2026-11-29T10:00") else time


def _parse_query(params: QueryParams, filters: dict[str, Any]) -> AuditQuery:
    given = filters | {name: params.get(name) for name in ("cursor", "limit")}
    try:
        return AuditQuery.model_validate({name: value for name, value in given.items() if value})
    except ValidationError as error:
        raise validation_error(error, AuditQuery) from error
