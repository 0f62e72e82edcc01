"""Answers about projects: what is deployed, and who holds Machines for it."""

from __future__ import annotations

import asyncio

from api.dependencies import Services
from api.projects.lookup import require_project
from api.projects.machines import Machines, read_machines
from projects.manifest import Manifest
from schemas.rest.projects import ProjectBody, ProjectList


async def list_projects(services: Services) -> ProjectList:
    """Return all deployed projects, sorted by name. Raises StoreError, Unavailable."""
    names = await services.catalog.list_projects()
    manifests = await asyncio.gather(*(services.catalog.get_current(name) for name in names))
    projects = [manifest for manifest in manifests if manifest is not None]
    machines = await read_machines(services, projects)
    return ProjectList(projects=[_project_body(project, machines) for project in projects])


async def get_project(services: Services, project: str) -> ProjectBody:
    """Return one deployed project. Raises NotFound, StoreError, Unavailable."""
    manifest = await require_project(services, project)
    return _project_body(manifest, await read_machines(services, [manifest]))


def _project_body(manifest: Manifest, machines: Machines) -> ProjectBody:
    settings = manifest.settings
    return ProjectBody(
        name=manifest.project,
        version=manifest.version,
        created_at=manifest.created_at,
        apis=list(manifest.apis),
        api_access=settings.api_access.enabled,
        auth_sessions=settings.auth_sessions.type if settings.auth_sessions.enabled else None,
        machines=machines.of(manifest),
        warnings=[str(warning) for warning in manifest.warnings],
    )
