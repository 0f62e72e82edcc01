"""Uploads of projects, and their deploys (docs/contract.md, section 8.4)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue

from callboard.schemas.rest.base import (
    Flag,
    JsonObject,
    QueryModel,
    RequestModel,
    ResponseModel,
    Text,
    absent_if_none,
    expects,
)

_UploadId = Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{1,64}$"), expects("the id of an upload")]

_RESULT: dict[str, JsonValue] = {
    "status": "completed",
    "message": "Version 0f1e2d3c4b5a6978 is deployed.",
    "id": "01a210ec-1fdd-7c5e-9f0e-9a6b8f6f3b11",
    "version": "0f1e2d3c4b5a6978",
    "promoted": True,
    "deployedAt": "2026-11-24T09:12:00Z",
    "apis": ["list", "products/details"],
    "warnings": ["api/list.py, line 3: the module numpy is neither in the project nor in a package that it declares"],
    "resources": {
        "status": "completed",
        "jobs": {"created": ["nightly"], "updated": [], "removed": [], "refused": []},
        "authSessions": {"created": [], "updated": [], "removed": [], "refused": []},
    },
}


class CodeTree(RequestModel):
    """A project folder as JSON."""

    code_tree: JsonObject
    """The folder: by name, files as `{"file": {"contents": text}}` and folders as `{"directory": {…}}`."""
    platform_type: Annotated[Literal["CLI"], expects('"CLI"')] = "CLI"
    language: Annotated[Literal["python", "typescript"], expects('"python" or "typescript"')] = "python"
    """Its language, which the files tell all the same."""


class UploadBody(ResponseModel):
    """An upload of a project, which can be deployed now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": "20261124T091200000000-5fe1c03a"}]})

    id: str


class DeployRequest(RequestModel):
    """What is to be deployed, and what the record of the deploy says."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"message": "Read prices with a discount"}]})

    id: _UploadId | None = None
    """The upload; the latest one of the project, if it is absent."""
    message: Text | None = None
    """What the deploy is about."""
    commit: Text | None = None
    """The commit of the project folder."""
    promote: Flag = True
    """Whether the version becomes the deployed one. If not, it is only stored."""


class DeployStarted(ResponseModel):
    """A deploy that has begun."""

    id: str
    """The id of the deploy."""
    status: Literal["pending"] = "pending"


class DeployQuery(QueryModel):
    """The parameters of the call for a deploy's result."""

    id: str | None = Field(default=None, max_length=64, description="The deploy; by default, the latest one.")


class ChangedResources(ResponseModel):
    """What was changed so that Jobs, or AuthSessions, agree with the files of the project: their ids."""

    created: list[str]
    updated: list[str]
    removed: list[str]
    refused: list[str]
    """Sentences about files that were not applied."""


class DeployedResources(ResponseModel):
    """What became of the files of Jobs and AuthSessions."""

    status: Literal["pending", "completed", "failed"]
    jobs: ChangedResources | None
    """Null until it has completed."""
    auth_sessions: ChangedResources | None
    """Null until it has completed."""


class DeployResult(ResponseModel):
    """How far a deploy is, or how it has ended."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RESULT]})

    status: Literal["pending", "completed", "failed"]
    message: str
    """What is done now, or how it has ended, in a sentence."""
    reason: Annotated[str | None, Field(exclude_if=absent_if_none)] = None
    """Why it has failed; absent otherwise."""
    id: str
    """The id of the deploy."""
    version: str | None
    """The version; null until the deploy has completed."""
    promoted: bool | None
    """Whether it became the deployed version; null until the deploy has completed."""
    deployed_at: datetime | None
    apis: list[str]
    """The APIs of the version."""
    warnings: list[str]
    """What will not work, though the rest does."""
    resources: DeployedResources | None
    """Null if the project has no files of Jobs and AuthSessions, and had none."""
