"""JSON of the recorded cause for which a Run or an Attempt failed or was canceled."""

from __future__ import annotations

from typing import Any

from schemas.workflow.run import RunError, RunReason


def error_json(error: RunError) -> dict[str, Any]:
    """Return the member `error` of an answer."""
    body = {"code": error.code.value, "category": error.category, "message": error.message}
    return {**body, "retirable": error.retirable, **_details(error.details)}


def reason_json(reason: RunReason) -> dict[str, Any]:
    """Return the member `reason` of an answer."""
    return {"type": reason.type.value, "message": reason.message, **_details(reason.details)}


def _details(details: dict[str, Any] | None) -> dict[str, Any]:
    return {} if details is None else {"details": details}
