"""Projects as they are answered: what is deployed, and how many Machines there are for it."""

from __future__ import annotations

import asyncio

from api.admission import deployed
from api.parts import Parts
from contract.rest.projects import MachinesOfProject, ProjectBody, ProjectList
from engine.slots import Machines
from projects.manifest import Manifest


async def project_list(parts: Parts) -> ProjectList:
    """All of them, by name. Raises StoreError, Unavailable."""
    names = await parts.catalog.projects()
    manifests = await asyncio.gather(*(parts.catalog.current(name) for name in names))
    machines = await parts.records.machines()
    return ProjectList(projects=[_body(manifest, machines) for manifest in manifests if manifest is not None])


async def project_body(parts: Parts, project: str) -> ProjectBody:
    """One of them. Raises NotFound, StoreError, Unavailable."""
    manifest = await deployed(parts, project)
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
