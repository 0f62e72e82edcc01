"""Build what receivers are sent that want to hear of the ends of JobRuns (docs/contract.md, section 17)."""

from __future__ import annotations

import json
from typing import Any

from schemas.timestamps import utc_text
from schemas.workflow.job_run import JobRunReason, JobRunView

_EVENT = "job-run-ended"


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
        "event": _EVENT,
        "workspaceId": view.workspace,
        "project": {"id": view.project, "name": view.project},
        "projectJob": {"id": view.job_id},
        "projectJobRun": job_run,
    }
    return json.dumps(body, separators=(",", ":")).encode("ascii")


def _reason(reason: JobRunReason) -> dict[str, Any]:
    return {"type": reason.type.value, "message": reason.message, "details": reason.details}
