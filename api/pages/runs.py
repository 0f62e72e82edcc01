"""What the pages ask of Runs, beyond what the API answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import QueryParams

from api.pages.timeline import Span
from api.parts import Parts
from api.records import run_body
from contract.errors import BadRequest
from contract.flow.run import RunStatus
from contract.rest.problems import bad_request
from contract.rest.runs import RunsQuery

SEVERAL = ("status", "type", "api", "authSession")
_ONE = ("startedAfter", "startedBefore", "cursor", "limit")

WITHIN = {"1h": timedelta(hours=1), "24h": timedelta(days=1), "7d": timedelta(days=7)}
"""Words of the form for how long ago a Run was accepted at most."""


def query_of(params: QueryParams) -> RunsQuery:
    """Which Runs the address means. Empty fields, as forms send them, say nothing.

    Raises:
        BadRequest: A filter is wrong.
    """
    said: dict[str, Any] = {name: given for name in SEVERAL if (given := [one for one in params.getlist(name) if one])}
    said |= {name: given for name in _ONE if (given := params.get(name))}
    try:
        return RunsQuery.model_validate(said)
    except ValidationError as error:
        raise bad_request(error, RunsQuery) from error


def filters_of(params: QueryParams) -> dict[str, Any]:
    """The filters of the address, for another address with the same."""
    several = {name: [one for one in params.getlist(name) if one] for name in SEVERAL}
    return {**several, **{name: params.get(name) for name in ("startedAfter", "startedBefore")}}


def since(word: str) -> str:
    """The moment so long ago, as it stands in an address.

    Raises:
        BadRequest: There is no such word.
    """
    if word not in WITHIN:
        raise BadRequest(f"within: expected one of {', '.join(WITHIN)}.")
    return (datetime.now(UTC) - WITHIN[word]).isoformat(timespec="seconds").replace("+00:00", "Z")


async def run_data(parts: Parts, project: str, run_id: str) -> dict[str, Any]:
    """All that is known of a Run, as the API tells it. Raises NotFound, StoreError, Unavailable."""
    return json.loads(await run_body(parts, project, run_id))


async def validate_spans(parts: Parts, run: dict[str, Any]) -> list[Span]:
    """When its Validates were made. Raises Unavailable."""
    if not run["validates"]:
        return []
    record = await parts.records.record(parts.settings.workspace, run["project"], run["runId"])
    lines = [each.run for each in await parts.records.validates(parts.settings.workspace, record.line)]
    return [
        Span(f"Validate {number}", line.status.value, line.started_at or line.created_at, line.ended_at)
        for number, line in enumerate(lines, 1)
    ]


def is_delivering(run: dict[str, Any], now: datetime) -> bool:
    """Whether its Delivery goes on, or is about to begin: it does so at the Run's end."""
    if run["deliveries"]:
        return any(each["status"] == "pending" for each in run["deliveries"])
    ended: str | None = run["endedAt"]
    if ended is None or "sink" not in run["input"]:
        return False
    return now - datetime.fromisoformat(ended) < timedelta(minutes=1)


async def cancel_pending(parts: Parts, project: str, run_ids: list[str]) -> int:
    """Cancel those that wait, and leave those that have begun or ended; how many were asked to end.

    Raises:
        NotFound: One is none of this project.
        Unavailable: Temporal does not answer.
    """
    workspace, asked = parts.settings.workspace, 0
    for run_id in run_ids:
        state = await parts.runs.state(workspace, project, run_id)
        if state.status is RunStatus.PENDING:
            await parts.runs.cancel(workspace, project, run_id, wait=timedelta())
            asked += 1
    return asked
