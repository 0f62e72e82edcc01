"""Build what receivers are sent, as JSON text.

A result: docs/contract.md, section 11.1. The end of a JobRun: docs/contract.md, section 17. A Handoff: section 22. An
alert: section 24.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from callboard.schemas.rest.alerts import AlertBody
from callboard.schemas.rest.files import LinkedFile
from callboard.schemas.rest.handoffs import HandoffBody
from callboard.schemas.timestamps import utc_text
from callboard.schemas.workflow import names
from callboard.schemas.workflow.alert import Alert
from callboard.schemas.workflow.base import JsonRef
from callboard.schemas.workflow.delivery import DeliverInput
from callboard.schemas.workflow.handoff import Handoff
from callboard.schemas.workflow.job_run import JobRunReason, JobRunView
from callboard.schemas.workflow.run import ErrorCode, RunError, RunOutcome, RunStatus
from callboard.storage.raw_json import RawJson, dump_object, read_json
from callboard.storage.store import Store


class GoneError(Exception):
    """Something that belongs into the body is no longer in the store."""


async def delivery_payload(
    delivery: DeliverInput, outcome: RunOutcome, store: Store, files: Sequence[LinkedFile] = ()
) -> bytes:
    """Return the body in ASCII, with the Run's files if there are any.

    What user code returned is inserted as text, without parsing it.

    Raises:
        GoneError: Parameters or result are not in the store any more.
        StoreError: The store failed.
    """
    members: dict[str, Any] = {
        "workspaceId": delivery.workspace,
        "project": {"id": delivery.project, "name": delivery.project},
        "apiInfo": dump_object(
            {
                "name": delivery.api,
                "parameters": await _read(delivery.parameters, store),
                "runId": delivery.run_id,
                "result": await _result(outcome, store, files),
            }
        ),
    }
    if delivery.auth_session_id is not None:
        members["authSession"] = {"id": delivery.auth_session_id}
    if delivery.job is not None:
        members["projectJob"] = {"id": delivery.job.job_id}
        members["projectJobRun"] = {"id": delivery.job.job_run_id}
    return dump_object(members).text


async def _result(outcome: RunOutcome, store: Store, files: Sequence[LinkedFile]) -> RawJson:
    left = {"files": [file.model_dump(mode="json", by_alias=True) for file in files]} if files else {}
    if outcome.status is RunStatus.COMPLETED and outcome.result is not None:
        result = await _read(outcome.result, store)
        return dump_object({"status": "completed", "result": result, **left, "statusCode": 200})
    if outcome.error is None:
        raise ValueError(f"A Run that is {outcome.status} is not delivered")
    error = outcome.error
    return dump_object(
        {
            "status": "failed",
            "error": error.code.value,
            "message": error.message,
            **left,
            "statusCode": 408 if _is_timeout(error) else 500,
        }
    )


def _is_timeout(error: RunError) -> bool:
    """Tell whether the Run, or its last Attempt, failed by taking too long."""
    last: dict[str, Any] = (error.details or {}).get("last_error") or {}
    return ErrorCode.SCRIPT_TIMEOUT.value in (error.code.value, last.get("code"))


async def _read(value: JsonRef, store: Store) -> RawJson:
    found = await read_json(value, store)
    if found is None:
        raise GoneError(f"{value.key} is not in the artifact store any more.")
    return found


def notification_payload(job_run_id: str, view: JobRunView) -> bytes:
    """Return the body, in ASCII, that tells of the end of a JobRun."""
    progress = view.progress
    job_run = {
        "id": job_run_id,
        "type": view.type.value,
        "status": view.status.value,
        "reason": None if view.reason is None else _reason(view.reason),
        "startTime": None if view.started_at is None else utc_text(view.started_at),
        "endTime": None if view.ended_at is None else utc_text(view.ended_at),
        "payloads": progress.total,
        "successfulRuns": progress.succeeded,
        "failedRuns": progress.failed,
    }
    body = {
        "event": "job-run-ended",
        "workspaceId": view.workspace,
        "project": {"id": view.project, "name": view.project},
        "projectJob": {"id": view.job_id},
        "projectJobRun": job_run,
    }
    return json.dumps(body, separators=(",", ":")).encode("ascii")


def handoff_payload(project: str, handoff: Handoff, url: str | None) -> bytes:
    """Return the body, in ASCII, that tells of an open Handoff, with a link to it if there is one."""
    body = {
        "type": "handoff.opened",
        "project": project,
        "runId": names.run_of_handoff(handoff.id),
        "handoff": HandoffBody.of(handoff).model_dump(mode="json", by_alias=True),
        "url": url,
    }
    return json.dumps(body, separators=(",", ":")).encode("ascii")


def alert_payload(project: str, alert: Alert) -> bytes:
    """Return the body, in ASCII, that tells that an alert was opened, or closed."""
    body = {
        "type": "alert.opened" if alert.is_open else "alert.closed",
        "project": project,
        **AlertBody.of(alert).model_dump(mode="json", by_alias=True),
    }
    return json.dumps(body, separators=(",", ":")).encode("ascii")


def _reason(reason: JobRunReason) -> dict[str, Any]:
    return {"type": reason.type.value, "message": reason.message, "details": reason.details}
