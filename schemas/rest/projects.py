"""Projects as they are answered: what is deployed, and who executes it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict, JsonValue

from schemas.rest.base import ResponseModel

_EXAMPLE: dict[str, JsonValue] = {
    "name": "shop",
    "version": "0f1e2d3c4b5a6978",
    "createdAt": "2026-11-24T09:12:00Z",
    "apis": ["list-products", "products/details"],
    "apiAccess": True,
    "authSessions": None,
    "machines": {"wanted": 2, "offered": 2, "busy": 1, "warm": 1},
    "warnings": [],
}


class MachinesOfProject(ResponseModel):
    """How many Attempts can be executed at the same time."""

    wanted: int
    """By the project's settings."""
    offered: int | None
    """By the workers that live, as of some seconds ago. None: Temporal's server cannot tell."""
    busy: int | None
    """How many have an Attempt, as of some seconds ago."""
    warm: int | None
    """How many others have their browser up, so that an Attempt begins at once. The rest are started on demand."""


class ProjectBody(ResponseModel):
    """A project as it is deployed."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    name: str
    version: str
    created_at: datetime
    """When this version was deployed first."""
    apis: list[str]
    api_access: bool
    """Whether Runs may be started."""
    auth_sessions: Literal["API", "MANUAL"] | None
    """Where its logins come from. None: it needs none."""
    machines: MachinesOfProject
    warnings: list[str]
    """What its deploy has warned of."""


class ProjectList(ResponseModel):
    """All projects, by name."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"projects": [_EXAMPLE]}]})

    projects: list[ProjectBody]
