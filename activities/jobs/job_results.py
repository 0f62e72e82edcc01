"""The results of a JobRun: a line of JSON for each Run that has ended (docs/contract.md, section 17).

What user code returned is inserted as text, without being parsed.
"""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime
from typing import Any

from schemas.rest.attempt import attempt_path
from schemas.rest.run_result import cause_json
from schemas.timestamps import utc_text
from schemas.workflow.base import JsonRef
from schemas.workflow.job_run import JobRunPlan
from schemas.workflow.run import RunOutcome, RunStatus
from storage.job_payloads import JobItem
from storage.raw_json import RawJson, dump_object, read_json
from storage.store import Store

log = logging.getLogger(__name__)


async def result_line(plan: JobRunPlan, item: JobItem, run_id: str, outcome: RunOutcome, store: Store) -> bytes:
    """Return the line of a Run that has ended. Raises StoreError."""
    result = None
    if outcome.status is RunStatus.COMPLETED:
        result = dump_object(
            {
                "output": await _value(outcome.result, run_id, store),
                "extendedPayloads": await _value(outcome.extended_payloads, run_id, store) or RawJson(b"[]"),
            }
        )
    ended_at = outcome.ended_at or datetime.now(UTC)
    members: dict[str, Any] = {
        "workspaceId": plan.workspace,
        "project": {"id": plan.project, "name": plan.project},
        "projectJob": {"id": plan.job_id},
        "projectJobRun": {"id": plan.job_run_id},
        "apiInfo": dump_object(
            {
                "name": item.api_name,
                "parameters": item.parameters,
                "runId": run_id,
                "result": result,
                "started_at": None if outcome.started_at is None else utc_text(outcome.started_at),
                "ended_at": utc_text(ended_at),
                "error": cause_json(outcome.error),
                "reason": cause_json(outcome.reason),
                **_evidence(plan, run_id, outcome),
            }
        ),
    }
    if plan.auth is not None:
        members["authSession"] = {"id": plan.auth.ref.id}
    return dump_object(members).text + b"\n"


async def added_items(outcome: RunOutcome, run_id: str, store: Store) -> list[JobItem]:
    """Return what a Run adds to the payload of its JobRun: nothing, unless it has completed. Raises StoreError."""
    if outcome.status is not RunStatus.COMPLETED or outcome.extended_payloads is None:
        return []
    payloads = await _value(outcome.extended_payloads, run_id, store)
    if payloads is None:
        return []
    return await asyncio.to_thread(_items, payloads.text)


def _items(payloads: bytes) -> list[JobItem]:
    return [JobItem(api_name=payload["api"], parameters=payload["parameters"]) for payload in json.loads(payloads)]


def _evidence(plan: JobRunPlan, run_id: str, outcome: RunOutcome) -> dict[str, str | None]:
    """Return the paths of trace and log of the last Attempt."""
    if not outcome.attempts:
        return {"trace_url": None, "log_url": None}
    path = attempt_path(plan.workspace, plan.project, run_id, outcome.attempts)
    has_trace = plan.trace.keeps(completed=outcome.status is RunStatus.COMPLETED)
    return {"trace_url": f"{path}/trace" if has_trace else None, "log_url": f"{path}/log"}


async def _value(value: JsonRef | None, run_id: str, store: Store) -> RawJson | None:
    if value is None:
        return None
    found = await read_json(value, store)
    if found is None:
        log.warning("Run %s: %s is not in the artifact store any more", run_id, value.key)
    return found
