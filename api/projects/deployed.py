"""Answers about projects: what is deployed, and how many Machines there are for it."""

from __future__ import annotations

import asyncio

from api.dependencies import Services
from api.projects.lookup import require_project
from projects.manifest import Manifest
from schemas.rest.projects import ProjectBody, ProjectList, ProjectMachines
from temporal.pool_usage import MachineCounts


async def list_projects(services: Services) -> ProjectList:
    """Return all deployed projects, sorted by name. Raises StoreError, Unavailable."""
    names = await services.catalog.list_projects()
    manifests = await asyncio.gather(*(services.catalog.get_current(name) for name in names))
    machines = await services.run_queries.count_machines()
    return ProjectList(projects=[_project_body(manifest, machines) for manifest in manifests if manifest is not None])


async def get_project(services: Services, project: str) -> ProjectBody:
    """Return one deployed project. Raises NotFound, StoreError, Unavailable."""
    manifest = await require_project(services, project)
    return _project_body(manifest, await services.run_queries.count_machines())


def _project_body(manifest: Manifest, machines: dict[str, MachineCounts] | None) -> ProjectBody:
    settings = manifest.settings
    usage = None if machines is None else machines.get(manifest.project, MachineCounts())
    return ProjectBody(
        name=manifest.project,
        version=manifest.version,
        created_at=manifest.created_at,
        apis=list(manifest.apis),
        api_access=settings.api_access.enabled,
        auth_sessions=settings.auth_sessions.type if settings.auth_sessions.enabled else None,
        machines=ProjectMachines(
            wanted=settings.machines,
            offered=None if usage is None else usage.offered,
            busy=None if usage is None else usage.busy,
            warm=None if usage is None else usage.warm,
        ),
        warnings=[str(warning) for warning in manifest.warnings],
    )
