"""Data and operations of the pages about Runs, beyond what the API answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import QueryParams

from api.dashboard.runs.timeline import Span
from api.dependencies import Services
from schemas.errors import BadRequest
from schemas.rest.field_errors import validation_error
from schemas.rest.runs import RunsQuery
from schemas.workflow.actor import Actor
from schemas.workflow.run import RunStatus

_REPEATABLE = ("status", "type", "api", "authSession", "jobId", "jobRunId")
_SINGLE = ("startedAfter", "startedBefore", "cursor", "limit")

AGES = {"1h": timedelta(hours=1), "24h": timedelta(days=1), "7d": timedelta(days=7)}
"""Choices of the form for how long ago a Run was created at most."""


def parse_runs_query(params: QueryParams) -> RunsQuery:
    """Return the query for the Runs that an address asks for. Empty fields, as forms send them, are ignored.

    Raises:
        BadRequest: A filter is wrong.
    """
    values: dict[str, Any] = {
        name: given for name in _REPEATABLE if (given := [value for value in params.getlist(name) if value])
    }
    values |= {name: given for name in _SINGLE if (given := params.get(name))}
    try:
        return RunsQuery.model_validate(values)
    except ValidationError as error:
        raise validation_error(error, RunsQuery) from error


def read_filters(params: QueryParams) -> dict[str, Any]:
    """Return the filters in an address, to make another address with the same filters."""
    several = {name: [value for value in params.getlist(name) if value] for name in _REPEATABLE}
    return {**several, **{name: params.get(name) for name in ("startedAfter", "startedBefore")}}


def created_since(age: str) -> str:
    """Return the time that lies `AGES[age]` before now, in the format of an address.

    Raises:
        BadRequest: There is no such choice.
    """
    if age not in AGES:
        raise BadRequest(f"within: expected one of {', '.join(AGES)}.")
    return (datetime.now(UTC) - AGES[age]).isoformat(timespec="seconds").replace("+00:00", "Z")


async def validate_spans(services: Services, run: dict[str, Any]) -> list[Span]:
    """Return the spans of time in which the Validates of a Run were executed. Raises Unavailable."""
    if not run["validates"]:
        return []
    details = await services.run_queries.get_details(services.settings.workspace, run["project"], run["runId"])
    validates = [
        each.run for each in await services.run_queries.list_validates(services.settings.workspace, details.list_item)
    ]
    return [
        Span(f"Validate {number}", line.status.value, line.started_at or line.created_at, line.ended_at)
        for number, line in enumerate(validates, 1)
    ]


def is_delivering(run: dict[str, Any], now: datetime) -> bool:
    """Tell whether the Delivery of a Run is under way, or is about to begin, as it does at the Run's end."""
    if run["deliveries"]:
        return any(each["status"] == "pending" for each in run["deliveries"])
    ended: str | None = run["endedAt"]
    if ended is None or "sink" not in run["input"]:
        return False
    return now - datetime.fromisoformat(ended) < timedelta(minutes=1)


async def cancel_pending(services: Services, project: str, run_ids: list[str], canceled: list[str], by: Actor) -> None:
    """Cancel the Runs that wait, but none that has started or ended, and add to `canceled` whose end was requested.

    Raises:
        NotFound: One of the ids is not that of a Run of this project.
        Unavailable: Temporal does not answer.
    """
    workspace = services.settings.workspace
    for run_id in run_ids:
        state = await services.runs.get_state(workspace, project, run_id)
        if state.status is RunStatus.PENDING:
            await services.runs.cancel(workspace, project, run_id, by=by)
            canceled.append(run_id)
