"""Answers about projects: what is deployed, and how many Machines there are for it."""

from __future__ import annotations

import asyncio

from api.dependencies import Services
from api.guards import require_project
from projects.manifest import Manifest
from schemas.rest.projects import MachinesOfProject, ProjectBody, ProjectList
from temporal.pool_usage import Machines


async def project_list(parts: Services) -> ProjectList:
    """Return all deployed projects, sorted by name. Raises StoreError, Unavailable."""
    names = await parts.catalog.projects()
    manifests = await asyncio.gather(*(parts.catalog.current(name) for name in names))
    machines = await parts.records.machines()
    return ProjectList(projects=[_body(manifest, machines) for manifest in manifests if manifest is not None])


async def project_body(parts: Services, project: str) -> ProjectBody:
    """Return one deployed project. Raises NotFound, StoreError, Unavailable."""
    manifest = await require_project(parts, project)
    return _body(manifest, await parts.records.machines())


def _body(manifest: Manifest, machines: dict[str, Machines] | None) -> ProjectBody:
    settings = manifest.settings
    its = None if machines is None else machines.get(manifest.project, Machines())
    return ProjectBody(
        name=manifest.project,
        version=manifest.version,
        created_at=manifest.created_at,
        apis=list(manifest.apis),
        api_access=settings.api_access.enabled,
        auth_sessions=settings.auth_sessions.type if settings.auth_sessions.enabled else None,
        machines=MachinesOfProject(
            wanted=settings.machines,
            offered=None if its is None else its.offered,
            busy=None if its is None else its.busy,
            warm=None if its is None else its.warm,
        ),
        warnings=[str(warning) for warning in manifest.warnings],
    )
