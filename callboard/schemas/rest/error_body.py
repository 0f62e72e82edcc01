"""The body of every error response (docs/contract.md, section 5.1)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict

from callboard.schemas.errors import CallboardError, Category
from callboard.schemas.rest.base import ResponseModel

Code = Literal[
    "bad-request",
    "unauthorized",
    "forbidden",
    "not-found",
    "method-not-allowed",
    "conflict",
    "not-a-table",
    "nothing-failed",
    "internal-server-error",
]


class ErrorBody(ResponseModel):
    """An error, with a message for people and a code for programs."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "code": "bad-request",
                    "category": "user",
                    "message": "retry.maximumAttempts: expected a whole number from 1 to 100.",
                    "retirable": False,
                    "details": {
                        "path": "retry.maximumAttempts",
                        "expected": "a whole number from 1 to 100",
                        "errors": [{"path": "retry.maximumAttempts", "expected": "a whole number from 1 to 100"}],
                    },
                    "correlationId": "0b2d8a0c6f0e4d5f9a3c1e7b5d9f2a44",
                }
            ]
        }
    )

    code: Code
    category: Category
    message: str
    retirable: bool
    """Whether the same request may succeed later."""
    details: dict[str, Any] | None = None
    correlation_id: str
    """The id of this request in Callboard's log and in the header `x-correlation-id`."""

    @classmethod
    def of(cls, error: CallboardError, correlation_id: str) -> ErrorBody:
        """Return the body that reports `error`."""
        return cls.model_validate(
            {
                "code": error.code,
                "category": error.category,
                "message": error.message,
                "retirable": error.retirable,
                "details": error.details,
                "correlation_id": correlation_id,
            }
        )
