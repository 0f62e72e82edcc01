"""What the pages tell of a project: the version that is served, and what its settings say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from statistics import median
from typing import Any

from api.parts import Parts
from api.records import summary_of
from contract.flow.run import RunStatus, RunType
from engine.listing import RunFilter, RunLine
from engine.slots import Machines
from projects.manifest import Manifest

TABS = (
    ("overview", "", "Overview"),
    ("runs", "/runs", "Runs"),
    ("playground", "/playground", "Playground"),
    ("auth-sessions", "/auth-sessions", "AuthSessions"),
)
"""The pages of a project: a word for each, what its address ends in, its name."""


_LOOKED_AT = 100
"""Runs that the success rate and the duration are taken from."""
_SHOWN = 5
_AT_ONCE = 8
"""Projects that Temporal is asked about side by side."""


async def projects_data(parts: Parts, manifests: Sequence[Manifest]) -> list[dict[str, Any]]:
    """Projects with how they do. Raises Unavailable."""
    machines = await parts.records.machines()
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(manifest: Manifest) -> dict[str, Any]:
        async with limit:
            return {**project_data(manifest), **await _doing(parts, manifest.project, machines)}

    return list(await asyncio.gather(*(one(manifest) for manifest in manifests)))


async def _doing(parts: Parts, project: str, machines: dict[str, Machines] | None) -> dict[str, Any]:
    wanted = RunFilter(
        types=frozenset({RunType.API}), statuses=frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELED})
    )
    ended = (await parts.records.page(parts.settings.workspace, project, wanted, limit=_LOOKED_AT)).runs
    its = None if machines is None else machines.get(project, Machines())
    return {
        "machinesOffered": its and its.offered,
        "machinesBusy": its and its.busy,
        "machinesWarm": its and its.warm,
        "waiting": await parts.records.waiting(project),
        "successRate": _success_rate(ended),
        "medianDuration": _median_duration(ended),
        "lastRuns": [summary_of(line).model_dump(mode="json", by_alias=True) for line in ended[:_SHOWN]],
    }


def _success_rate(ended: Sequence[RunLine]) -> float | None:
    """Of those that were not canceled, how many completed: from 0 to 1."""
    counted = [line.status is RunStatus.COMPLETED for line in ended if line.status is not RunStatus.CANCELED]
    return sum(counted) / len(counted) if counted else None


def _median_duration(ended: Sequence[RunLine]) -> float | None:
    """Seconds from the beginning to the end."""
    took = [
        (line.ended_at - line.started_at).total_seconds()
        for line in ended
        if line.status is not RunStatus.CANCELED and line.started_at and line.ended_at
    ]
    return median(took) if took else None


def project_data(manifest: Manifest) -> dict[str, Any]:
    """A project as a page and its JSON tell it. Nothing of its settings that may be secret is among this."""
    settings = manifest.settings
    return {
        "project": manifest.project,
        "version": manifest.version,
        "deployedFirst": manifest.created_at.isoformat(),
        "apis": list(manifest.apis),
        "machines": settings.machines,
        "apiAccess": settings.api_access.enabled,
        "authSessions": settings.auth_sessions.type if settings.auth_sessions.enabled else None,
        "headful": settings.headful,
        "warnings": [str(warning) for warning in manifest.warnings],
    }
