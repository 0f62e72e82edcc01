"""Deployed projects and their Machines."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, JsonValue

from callboard.schemas.rest.base import ResponseModel
from callboard.schemas.rest.fleet import MissingReason

_EXAMPLE: dict[str, JsonValue] = {
    "name": "shop",
    "version": "0f1e2d3c4b5a6978",
    "createdAt": "2026-11-24T09:12:00Z",
    "apis": ["list-products", "products/details"],
    "apiAccess": True,
    "authSessions": None,
    "machines": {
        "wanted": 2,
        "held": 1,
        "workers": [{"worker": "host-1-4711-5fe1c0", "host": "host-1", "machines": 1}],
        "missing": {"machines": 1, "reason": "no-room", "message": "1 of 2: its workers have no room for more"},
        "busy": 1,
        "warm": 0,
        "isolation": "full",
    },
    "warnings": [],
}


_EXAMPLE_OF_APIS: dict[str, JsonValue] = {
    "version": "0f1e2d3c4b5a6978",
    "validateParameters": False,
    "apis": [
        {
            "name": "list-products",
            "docstring": "Walk through the pages of the shop and list its products.",
            "inputSchema": {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "properties": {"pages": {"type": "integer"}},
                "additionalProperties": False,
            },
            "resultSchema": {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "array",
                "items": {"type": "object"},
            },
            "needsAuthSession": False,
        }
    ],
}


class WorkerMachines(ResponseModel):
    """The Machines of a project that one worker holds."""

    worker: str
    host: str
    machines: int


class MissingMachines(ResponseModel):
    """How many Machines a project has fewer than it may have, and why."""

    machines: int
    reason: MissingReason
    message: str


class ProjectMachines(ResponseModel):
    """The Machines of a project: the number of Attempts that can be executed at the same time."""

    wanted: int
    """The number in the project's settings."""
    held: int | None
    """The number that workers hold; null if no worker answers. More than `wanted`, if a deploy has made that smaller
    and Attempts of before go on."""
    workers: list[WorkerMachines] | None
    """Which worker holds how many of them; null if no worker answers."""
    missing: MissingMachines | None
    """What is missing; null if nothing is, or if no worker answers."""
    busy: int | None
    """The number that executed an Attempt when their workers renewed their leases last; null if no worker answers."""
    warm: int | None
    """The number of Machines that were idle then and had their browser running, so that an Attempt starts at once."""
    isolation: str | None
    """How far those are isolated that are least so: `full`, `open` or `none`; null if nobody holds any."""


class ProjectBody(ResponseModel):
    """A deployed project."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    name: str
    version: str
    created_at: datetime
    """The time when this version was first deployed."""
    apis: list[str]
    api_access: bool
    """Whether Runs may be started over the API."""
    auth_sessions: Literal["API", "MANUAL"] | None
    """How AuthSessions are created: from parameters (`API`) or by people (`MANUAL`); null if the project uses none."""
    machines: ProjectMachines
    warnings: list[str]
    """The warnings of its deployment."""


class ApiBody(ResponseModel):
    """An API of a project."""

    name: str
    docstring: str | None
    """That of its function, else that of its file."""
    input_schema: dict[str, Any] | None
    """JSON Schema (2020-12) of its parameters; null if its annotation says nothing, or could not be read."""
    result_schema: dict[str, Any] | None
    """JSON Schema (2020-12) of what it returns; null as above."""
    needs_auth_session: bool
    """Whether a start needs `authSession`."""


class ApiList(ResponseModel):
    """The APIs of a project."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE_OF_APIS]})

    version: str
    validate_parameters: bool
    """Whether a start is refused whose parameters are not what the schema says."""
    apis: list[ApiBody]


class ProjectList(ResponseModel):
    """All projects, sorted by name."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"projects": [_EXAMPLE]}]})

    projects: list[ProjectBody]
