"""Deliveries of results to sinks (docs/contract.md, section 13.5)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import ConfigDict

from callboard.schemas.rest.base import ResponseModel
from callboard.schemas.workflow.delivery import DeliveryStatus


class DeliveryError(ResponseModel):
    """The reason why a Delivery, or one try of it, failed."""

    type: str
    message: str


class TryBody(ResponseModel):
    """One try of a Delivery."""

    at: datetime
    status_code: int | None = None
    """The status of the response, if there was one."""
    error: DeliveryError | None = None
    latency: float | None = None
    """The seconds until the response's status or the error."""
    answer: str | None = None
    """The first 2 kB of the response, with the sink's secrets masked."""


class DeliveryBody(ResponseModel):
    """A Delivery with its tries in chronological order."""

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
    """The sink as the start has it, with its secrets masked."""
    status: DeliveryStatus
    error: DeliveryError | None = None
    """The reason why the Delivery failed."""
    tries: list[TryBody]


class DeliveryList(ResponseModel):
    """All Deliveries of a Run."""

    deliveries: list[DeliveryBody]


class ProjectDelivery(ResponseModel):
    """A Delivery in the list of its project."""

    id: str
    run_id: str | None
    """The Run, or the JobRun, that it tells of; null if it tells of an alert."""
    job_id: str | None
    """The Job of the JobRun that it tells of; null if it tells of something else."""
    sink: dict[str, Any]
    status: DeliveryStatus
    error: DeliveryError | None
    """Why the last try failed, or why the Delivery did."""
    created_at: datetime
    ended_at: datetime | None
    try_count: int | None
    """How many tries have begun; null of one that has ended."""
    next_try_at: datetime | None
    """When it is tried again, if it waits for that."""


class ProjectDeliveryList(ResponseModel):
    """Deliveries of a project: those that fail first, then those that have failed, and by time, the latest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "deliveries": [
                        {
                            "id": "sink",
                            "runId": "V1StGXR8_Z5jdHi6B-myT",
                            "jobId": None,
                            "sink": {"type": "webhook", "url": "https://receiver.example.com/results?***"},
                            "status": "pending",
                            "error": {"type": "Status", "message": "The receiver answered 503."},
                            "createdAt": "2026-11-24T10:00:00Z",
                            "endedAt": None,
                            "tryCount": 3,
                            "nextTryAt": "2026-11-24T10:00:09Z",
                        }
                    ]
                }
            ]
        }
    )

    deliveries: list[ProjectDelivery]
