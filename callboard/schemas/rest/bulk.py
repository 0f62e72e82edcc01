"""Many Runs at once: what is asked for, and how far it has come (docs/contract.md, section 13.8)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import ConfigDict

from callboard.schemas.rest.access import KeyRef
from callboard.schemas.rest.base import Flag, RequestModel, ResponseModel
from callboard.schemas.rest.runs import RunsFilter
from callboard.schemas.workflow.bulk import BulkAction

MOST_RUNS = 10_000
"""How many Runs one request may be about: all their ids travel through Temporal together."""


class BulkStatus(StrEnum):
    """How a bulk is."""

    RUNNING = "running"
    COMPLETED = "completed"
    ABORTED = "aborted"


class BulkRequest(RequestModel):
    """The Runs to cancel, or to start again."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"filter": {"status": "failed", "api": "list-products"}}]}
    )

    filter: RunsFilter
    """Which Runs: names and values are those of the list of Runs, a repeated one as an array. At least one is given."""
    dry_run: Flag = False
    """Only count the Runs."""


class BulkCount(ResponseModel):
    """How many Runs there are."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"matched": 100}]})

    matched: int


class BulkRef(ResponseModel):
    """The request about many Runs that is being aborted."""

    id: str


class BulkStarted(BulkCount):
    """An accepted request about many Runs. It is never lost."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": "V1StGXR8_Z5jdHi6B-myT", "matched": 100}]})

    id: str


class BulkFailed(ResponseModel):
    """A Run that could not be canceled or started again."""

    run_id: str
    message: str


class BulkBody(ResponseModel):
    """How far a request about many Runs has come."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "V1StGXR8_Z5jdHi6B-myT",
                    "action": "rerun",
                    "status": "running",
                    "matched": 100,
                    "done": 41,
                    "failedCount": 1,
                    "failed": [{"runId": "mB7Qj0f2kXa9wPz4sLr1e", "message": "Project shop has no API 'list-chairs'."}],
                    "createdAt": "2026-11-24T10:00:00.000000Z",
                    "endedAt": None,
                    "requestedBy": {"id": "Zk3vT9qLm2Xa", "name": "nightly"},
                }
            ]
        }
    )

    id: str
    action: BulkAction
    status: BulkStatus
    matched: int
    """The number of Runs that the filter matched when it was asked for."""
    done: int
    """The number of those that were canceled or started again."""
    failed_count: int
    """The number of those that could not be."""
    failed: list[BulkFailed]
    """The first 50 of these."""
    created_at: datetime
    ended_at: datetime | None
    requested_by: KeyRef
