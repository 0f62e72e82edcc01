"""A Run's result (docs/contract.md, section 6.2). Mixed casing is the published one: `doc_url` beside `runId`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.errors import Category
from schemas.rest.base import ResponseModel

Status = Literal["pending", "started", "completed", "canceled", "failed"]
ErrorCode = Literal[
    "internal-server-error",
    "script-process-crashed",
    "unexpected",
    "script-execution-exception",
    "script-no-valid-output-received",
    "result-too-big-error",
    "script-timeout",
    "script-unexpected-error",
    "auth-check-failed",
    "all-attempts-failed",
    "check-attempts-failed",
    "create-attempts-failed",
    "post-create-check-attempts-failed",
    "api-attempts-failed",
    "onepassword-integration-error",
    "job-run-terminated",
]
ReasonType = Literal[
    "auth-session-validate-dependency-failed",
    "terminated",
    "job-run-paused",
    "job-run-terminated",
    "failed-to-initialize-job-run",
    "api-access-disabled",
    "cancelled-user-action",
]


class _Error[Code, Kind](BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    code: Code | None = None
    category: Kind
    message: str
    retirable: bool = False
    details: dict[str, Any] | None = None
    doc_url: str | None = None
    correlation_id: str | None = None


class _Reason[Kind](BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Kind
    message: str
    details: dict[str, Any] | None = None
    doc_url: str | None = None


class RunErrorBody(_Error[ErrorCode, Category]):
    """Why the Run failed. Field names are snake_case on the wire; the flag is spelled `retirable`."""


class RunReasonBody(_Reason[ReasonType]):
    """Why the Run was canceled."""


class RecordedError(_Error[ErrorCode | str, Category | str]):
    """Why a Run or an Attempt failed, as it was recorded: a word may be one of a later version of Callboard."""


class RecordedReason(_Reason[ReasonType | str]):
    """Why a Run was canceled, as it was recorded: the word may be one of a later version of Callboard."""


class ExtendedPayload(ResponseModel):
    """One payload that the API asked for with `extend_payload`."""

    api: str
    run_id: str | None = None
    parameters: dict[str, Any] | None = None


class ResultResponse(ResponseModel):
    """A Run as it is: `result` once completed, `error` once failed, `reason` once canceled."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"runId": "V1StGXR8_Z5jdHi6B-myT", "status": "started"},
                {
                    "runId": "V1StGXR8_Z5jdHi6B-myT",
                    "status": "completed",
                    "result": {"products": [{"name": "Chair", "price": 49}]},
                },
                {
                    "runId": "V1StGXR8_Z5jdHi6B-myT",
                    "status": "failed",
                    "message": "Locator.click: Timeout 30000ms exceeded.",
                    "error": {
                        "code": "api-attempts-failed",
                        "category": "execution",
                        "message": "Locator.click: Timeout 30000ms exceeded.",
                        "retirable": True,
                        "details": {
                            "attempts_count": 3,
                            "last_error": {
                                "code": "script-execution-exception",
                                "category": "execution",
                                "message": "Locator.click: Timeout 30000ms exceeded.",
                            },
                        },
                    },
                },
                {
                    "runId": "V1StGXR8_Z5jdHi6B-myT",
                    "status": "canceled",
                    "message": "The Run was canceled by request.",
                    "reason": {"type": "cancelled-user-action", "message": "The Run was canceled by request."},
                },
            ]
        }
    )

    run_id: str
    status: Status
    result: Any = None
    """Exactly what the API returned."""
    extended_payloads: list[ExtendedPayload] | None = None
    error: RunErrorBody | None = None
    message: str | None = Field(default=None, description="That of the error or the reason.")
    reason: RunReasonBody | None = None
