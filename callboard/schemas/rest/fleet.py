"""The fleet: the workers that have Machines, and the Machines of each project (docs/contract.md, section 21)."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import ConfigDict, JsonValue

from callboard.schemas.rest.base import ResponseModel

_EXAMPLE: dict[str, JsonValue] = {
    "limit": None,
    "workers": [
        {
            "worker": "host-1-4711-5fe1c0",
            "host": "host-1",
            "capacity": 8,
            "machines": 1,
            "busy": 1,
            "warm": 0,
            "isolation": "full",
            "projects": {"shop": 1},
            "state": "serving",
            "maxMachines": None,
        }
    ],
    "projects": [
        {
            "project": "shop",
            "machines": 2,
            "held": 1,
            "workers": {"host-1-4711-5fe1c0": 1},
            "missing": 1,
            "reason": "no-room",
            "message": "1 of 2: its workers have no room for more",
            "busy": 1,
            "warm": 0,
            "isolation": "full",
        }
    ],
}


class MissingReason(StrEnum):
    """Why a project has fewer Machines than it may have."""

    NO_WORKER = "no-worker"
    NOT_SERVED = "not-served"
    LIMIT = "limit"
    NO_ROOM = "no-room"
    ON_THE_WAY = "on-the-way"


class FleetWorker(ResponseModel):
    """The Machines that one worker holds."""

    worker: str
    host: str
    capacity: int
    """How many Machines it can have at once."""
    machines: int
    """How many it may be using."""
    busy: int
    """How many executed an Attempt when it renewed its lease last."""
    warm: int
    """How many were up without an Attempt then."""
    isolation: str | None
    """How far they are isolated: `full`, `open` or `none`; null if the worker has not said so."""
    projects: dict[str, int]
    """How many it may be using of each project."""
    state: Literal["serving", "leaving"]
    max_machines: int | None
    """How many Machines all projects may have together, as this worker was told; null for any number."""


class FleetProject(ResponseModel):
    """The Machines of one project."""

    project: str
    machines: int
    """How many it may have."""
    held: int
    """How many workers may be using."""
    workers: dict[str, int]
    """How many each worker may be using."""
    missing: int
    """How many more it may have."""
    reason: MissingReason | None
    """Why Machines are missing; null if none is."""
    message: str | None
    """What is missing and why, as a part of a sentence."""
    busy: int
    """How many executed an Attempt when their workers renewed their leases last."""
    warm: int
    """How many were up without an Attempt then."""
    isolation: str | None
    """How far those are isolated that are least so: `full`, `open` or `none`; null if no worker holds any."""


class Fleet(ResponseModel):
    """All workers that have Machines, and all deployed projects, in the order of their names."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    limit: int | None
    """How many Machines all projects may have together; null for any number."""
    workers: list[FleetWorker]
    projects: list[FleetProject]
