"""The audit: entries about changes and refusals, and how lists of them are filtered (docs/contract.md, section 20)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field, JsonValue

from callboard.schemas.rest.base import QueryModel, ResponseModel, expects
from callboard.schemas.rest.runs import LIMIT, Name, When

REFUSAL = "refusal"
"""The action of entries about requests that were refused."""
UNKNOWN = "unknown"
"""The id of an actor whose key is none of the installation's, and does not even look like one."""

WORDS_OF_IDS = {
    "runId": "Run",
    "rerunOf": "rerun of",
    "authSessionId": "AuthSession",
    "operationId": "operation",
    "jobId": "Job",
    "jobRunId": "JobRun",
    "bulkId": "bulk",
    "deliveryId": "Delivery",
    "handoffId": "Handoff",
    "keyId": "key",
    "uploadId": "upload",
    "deployId": "deploy",
    "version": "version",
    "variable": "variable",
}
"""What people call that which `ids` of an entry name."""

_EXAMPLE: dict[str, JsonValue] = {
    "time": "2026-11-29T10:00:00.123456Z",
    "action": "run.start",
    "actor": {"id": "Zk3vT9qLm2Xa", "name": "nightly", "signedIn": False},
    "project": "shop",
    "ids": {"runId": "V1StGXR8_Z5jdHi6B-myT"},
    "status": 201,
    "refusedAction": None,
    "missingScope": None,
    "client": "203.0.113.7",
    "request": "POST /api/v1/workspace/{workspaceId}/projects/{projectName}/run/start",
    "correlationId": "3f1c9a7e5b2d4c6f8a0b1c2d3e4f5a6b",
}


class AuditActor(ResponseModel):
    """Who has sent the request."""

    id: str
    """The visible id of the key. Of a refusal with 401 or 429, the id that the wrong key claims, or `unknown`."""
    name: str | None
    """The name of the key; null if the key was wrong."""
    signed_in: bool
    """Whether the request came from a page, by somebody who has signed in with the key."""


class AuditEntry(ResponseModel):
    """One change, or one request that was refused."""

    # While apis are upgraded, one reads what a newer one has written.
    model_config = ConfigDict(extra="ignore", json_schema_extra={"example": _EXAMPLE})

    time: datetime
    """When the answer began; of a Run of a bulk, when a worker was asked to handle it."""
    action: str
    actor: AuditActor
    project: str | None
    ids: dict[str, str]
    """What was changed, by the names that ids have in the API, such as `runId`."""
    status: int | None
    """The status of the answer; null if the client had left before it, so that nobody was told."""
    refused_action: str | None
    """Of a refusal: what it would have changed; null if nothing, or if that is not known."""
    missing_scope: str | None
    """Of a refusal: the scope that the key does not have, if that was the reason."""
    client: str | None
    """The address of the client; null if a proxy does not know it."""
    request: str | None
    """The method, and the path with the names of its parameters; null if the key was refused before that was known."""
    correlation_id: str


class AuditList(ResponseModel):
    """A page of the audit."""

    entries: list[AuditEntry]
    next_cursor: str | None


class AuditQuery(QueryModel):
    """The filters of a list. An entry must match one of the values of each field that is given."""

    actor: list[Name] = Field(
        default_factory=list[str], description="The id or the name of a key. May be given several times."
    )
    action: list[Name] = Field(default_factory=list[str], description="May be given several times.")
    project: list[Name] = Field(default_factory=list[str], description="May be given several times.")
    since: When | None = Field(default=None, description="Only entries with this `time` or a later one.")
    until: When | None = Field(default=None, description="Only entries with an earlier `time`.")
    limit: Annotated[int, Field(ge=1, le=LIMIT), expects(f"a whole number from 1 to {LIMIT}")] = Field(
        default=50, description="The maximum number of entries on the page."
    )
    cursor: Annotated[str, Field(max_length=2000), expects("the nextCursor of the page before")] | None = Field(
        default=None, description="The `nextCursor` of the previous page, with the same filters."
    )
