"""Data that the pages show of projects: the deployed version, its settings, its Machines and its last Runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from statistics import median
from typing import Any

from api.dependencies import Services
from api.runs.records import summary_of
from projects.manifest import Manifest
from schemas.workflow.run import RunStatus, RunType
from temporal.listing import RunFilter, RunListItem
from temporal.pool_usage import Machines

TABS = (
    ("overview", "", "Overview"),
    ("runs", "/runs", "Runs"),
    ("playground", "/playground", "Playground"),
    ("auth-sessions", "/auth-sessions", "AuthSessions"),
)
"""The pages of a project, each as its key, the suffix of its address, and its title."""


_LOOKED_AT = 100
"""Number of the last ended Runs from which the success rate and the duration are computed."""
_SHOWN = 5
_AT_ONCE = 8
"""Number of projects about which Temporal is asked concurrently."""


async def projects_data(parts: Services, manifests: Sequence[Manifest]) -> list[dict[str, Any]]:
    """Return the data of projects, with their Machines, their queue and their last Runs. Raises Unavailable."""
    machines = await parts.records.machines()
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(manifest: Manifest) -> dict[str, Any]:
        async with limit:
            return {**project_data(manifest), **await _doing(parts, manifest.project, machines)}

    return list(await asyncio.gather(*(one(manifest) for manifest in manifests)))


async def _doing(parts: Services, project: str, machines: dict[str, Machines] | None) -> dict[str, Any]:
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


def _success_rate(ended: Sequence[RunListItem]) -> float | None:
    """Return the share of completed Runs among those that were not canceled, from 0 to 1; None without such Runs."""
    counted = [line.status is RunStatus.COMPLETED for line in ended if line.status is not RunStatus.CANCELED]
    return sum(counted) / len(counted) if counted else None


def _median_duration(ended: Sequence[RunListItem]) -> float | None:
    """Return the median of the seconds from the start to the end of Runs that were not canceled; None without such."""
    took = [
        (line.ended_at - line.started_at).total_seconds()
        for line in ended
        if line.status is not RunStatus.CANCELED and line.started_at and line.ended_at
    ]
    return median(took) if took else None


def project_data(manifest: Manifest) -> dict[str, Any]:
    """Return the data of a project for a page and its JSON. It holds no setting that may be secret."""
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
