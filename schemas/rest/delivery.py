"""How the result of a Run is brought to its sink (docs/contract.md, section 13.5)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import ConfigDict

from schemas.rest.base import ResponseModel
from schemas.workflow.delivery import DeliveryStatus


class DeliveryError(ResponseModel):
    """Why something did not arrive."""

    type: str
    message: str


class Try(ResponseModel):
    """One try."""

    at: datetime
    status_code: int | None = None
    """Of the answer, if one came."""
    error: DeliveryError | None = None
    latency: float | None = None
    """Seconds, to the answer's status or to the error."""
    answer: str | None = None
    """The first 2 kB, with what is secret in the sink masked."""


class Delivery(ResponseModel):
    """A Delivery with its tries, in their order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "sink",
                    "sink": {
                        "type": "webhook",
                        "url": "https://receiver.example.com/results?***",
                        "headers": {"authorization": "***"},
                        "skipOnFail": False,
                        "apisToSend": None,
                    },
                    "status": "delivered",
                    "tries": [
                        {"at": "2026-11-24T10:00:00Z", "statusCode": 503, "latency": 0.021, "answer": "Try again"},
                        {"at": "2026-11-24T10:00:01Z", "statusCode": 200, "latency": 0.018, "answer": "Thanks"},
                    ],
                }
            ]
        }
    )

    id: str
    sink: dict[str, Any]
    """As it was written, with what is secret masked."""
    status: DeliveryStatus
    error: DeliveryError | None = None
    """Why it failed."""
    tries: list[Try]


class DeliveriesResponse(ResponseModel):
    """All Deliveries of a Run."""

    deliveries: list[Delivery]
