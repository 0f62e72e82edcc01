"""The page that shows the audit."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import QueryParams
from starlette.responses import Response

from api.audit.lists import list_entries
from api.dashboard.page_route import page_router
from api.dashboard.rendering import render_page
from api.dependencies import ServicesDep
from api.http.access import requires
from schemas.rest.access import Scope
from schemas.rest.audit import WORDS_OF_IDS, AuditQuery
from schemas.rest.field_errors import validation_error

router = page_router("/audit", requires(Scope.ADMIN))

_REPEATABLE = ("actor", "action", "project")
_TIMES = ("since", "until")


@router.get("")
@router.get(".json")
async def list_page(request: Request, services: ServicesDep) -> Response:
    """Show a page of the audit; the filters are in the query."""
    params = request.query_params
    filters = _read_filters(params)
    page = await list_entries(services, _parse_query(params, filters))
    return render_page(
        request,
        "audit.html",
        page.model_dump(mode="json", by_alias=True),
        filters=filters,
        is_filtered=any(filters.values()),
        cursor=params.get("cursor"),
        words_of_ids=WORDS_OF_IDS,
    )


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
