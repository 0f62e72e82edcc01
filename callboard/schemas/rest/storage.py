"""What the artifact store holds of each project (docs/contract.md, section 21)."""

from __future__ import annotations

from datetime import datetime

from pydantic import ConfigDict

from callboard.schemas.rest.base import ResponseModel


class StoredSize(ResponseModel):
    """How much is stored of one kind."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"objects": 120, "bytes": 48_000_000}]})

    objects: int
    bytes: int


class StoredProject(ResponseModel):
    """What is stored of a project."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "project": "shop",
                    "objects": 120,
                    "bytes": 48_000_000,
                    "kinds": {"traces": {"objects": 120, "bytes": 48_000_000}},
                }
            ]
        }
    )

    project: str
    objects: int
    bytes: int
    kinds: dict[str, StoredSize]
    """How much of it is of each kind; a kind that there is nothing of is absent."""


class StorageBody(ResponseModel):
    """What the artifact store holds, as the last sweep that has come to its end has counted it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"countedAt": "2026-11-24T10:00:00Z", "projects": []}]})

    counted_at: datetime | None
    """When the sweep ended; null if none has ended yet."""
    projects: list[StoredProject]
    """The projects of which anything is stored, those with most bytes first."""
