"""A Run's result (docs/contract.md, section 6.2). Mixed casing is the published one: `doc_url` beside `runId`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from callboard.schemas.errors import Category
from callboard.schemas.rest.base import ResponseModel
from callboard.schemas.rest.files import LinkedFile
from callboard.schemas.rest.handoffs import OpenHandoff
from callboard.schemas.workflow.run import RunError, RunReason

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


class _Error[CodeT, CategoryT](BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    code: CodeT | None = None
    category: CategoryT
    message: str
    retirable: bool = False
    details: dict[str, Any] | None = None
    doc_url: str | None = None
    correlation_id: str | None = None


class _Reason[TypeT](BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    type: TypeT
    message: str
    details: dict[str, Any] | None = None
    doc_url: str | None = None


class RunErrorBody(_Error[ErrorCode, Category]):
    """The error of a failed Run."""


class RunReasonBody(_Reason[ReasonType]):
    """The reason why a Run was canceled."""


class RecordedError(_Error[ErrorCode | str, Category | str]):
    """The recorded error of a Run or an Attempt. A later version of Callboard may have recorded other codes."""


class RecordedReason(_Reason[ReasonType | str]):
    """The recorded reason of a canceled Run. A later version of Callboard may have recorded other types."""


def cause_json(cause: RunError | RunReason | None) -> dict[str, Any] | None:
    """Return the member `error` or `reason` of an answer; None if there is no such cause."""
    return None if cause is None else cause.model_dump(mode="json", exclude_none=True)


class ExtendedPayload(ResponseModel):
    """One payload that the API requested with `extend_payload`."""

    api: str
    run_id: str | None = None
    parameters: dict[str, Any] | None = None


class ResultResponse(ResponseModel):
    """A Run's status, with the `result`, `error` or `reason` of one that completed, failed or was canceled."""

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
    """The value that the API returned."""
    extended_payloads: list[ExtendedPayload] | None = None
    handoff: OpenHandoff | None = None
    """The question of the Run that waits for a person, or of the Create that it waits for; absent if there is none."""
    files: list[LinkedFile] | None = None
    """The files that the Run has left, which are those of its last Attempt; absent if there are none."""
    error: RunErrorBody | None = None
    message: str | None = Field(default=None, description="The message of the error or the reason.")
    reason: RunReasonBody | None = None
