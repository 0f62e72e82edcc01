"""The data of the pages of projects: the deployed version, its settings, its Machines and its last Runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from statistics import median
from typing import Any

from api.dependencies import Services
from api.projects.machines import Machines, read_machines
from api.runs.records import run_summary
from projects.manifest import Manifest
from schemas.workflow.run import RunStatus, RunType
from temporal.listing import RunFilter

_EVALUATED_RUNS = 100
"""Number of the last ended Runs from which the success rate and the duration are computed, without canceled ones."""
_SHOWN_RUNS = 5
_CONCURRENT_PROJECTS = 8
"""Number of projects about which Temporal is asked concurrently."""


async def projects_data(services: Services, manifests: Sequence[Manifest]) -> list[dict[str, Any]]:
    """Return the data of projects, with their Machines, their queue and their last Runs. Raises Unavailable."""
    machines = await read_machines(services, manifests)
    limit = asyncio.Semaphore(_CONCURRENT_PROJECTS)

    async def load(manifest: Manifest) -> dict[str, Any]:
        async with limit:
            return {**project_data(manifest), **await _activity(services, manifest, machines)}

    return list(await asyncio.gather(*(load(manifest) for manifest in manifests)))


async def _activity(services: Services, manifest: Manifest, machines: Machines) -> dict[str, Any]:
    project = manifest.project
    run_filter = RunFilter(
        types=frozenset({RunType.API}), statuses=frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELED})
    )
    ended = (
        await services.run_queries.list_runs(services.settings.workspace, project, run_filter, limit=_EVALUATED_RUNS)
    ).runs
    kept = [run for run in ended if run.status is not RunStatus.CANCELED]
    durations = [run.ended_at - run.started_at for run in kept if run.started_at and run.ended_at]
    counts = machines.of(manifest).model_dump(mode="json", by_alias=True)
    return {
        "machinesHeld": counts["held"],
        "machinesWorkers": counts["workers"],
        "machinesMissing": counts["missing"],
        "machinesBusy": counts["busy"],
        "machinesWarm": counts["warm"],
        "isolation": machines.isolation(project),
        "waiting": await services.run_queries.count_waiting(project),
        "successRate": sum(run.status is RunStatus.COMPLETED for run in kept) / len(kept) if kept else None,
        "medianDuration": median(each.total_seconds() for each in durations) if durations else None,
        "lastRuns": [run_summary(run).model_dump(mode="json", by_alias=True) for run in ended[:_SHOWN_RUNS]],
    }


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
