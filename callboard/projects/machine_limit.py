"""Whether all projects together have no more Machines than they may, if a version is deployed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from callboard.projects.catalog import Catalog
from callboard.projects.manifest import Manifest
from callboard.schemas.errors import ProjectError, StoreError
from callboard.storage.store import Store

_MOST_NAMES = 5
"""How many other projects an error about too many Machines names."""


async def check_machine_limit(store: Store, manifest: Manifest, limit: int) -> None:
    """Refuse a version if what is deployed of other projects leaves too few Machines for it.

    A project that gets no more than it has is let through: it may be mended after the limit was lowered. Moves at the
    same time do not see each other: workers keep to the limit whatever is deployed (`limit_sizes` in
    `workflows/allocation.py`).

    Raises:
        ProjectError: All projects together would have more than the limit.
        StoreError: The store failed, or the version of another project is damaged.
    """
    catalog = Catalog(store)
    projects = [name for name in await catalog.list_projects() if name != manifest.project]
    deployed = await asyncio.gather(*(catalog.get_current(project) for project in projects))
    others = {other.project: other.settings.machines for other in deployed if other is not None}
    before = None
    with suppress(StoreError):  # its files may be damaged: this version replaces them
        before = await catalog.get_current(manifest.project)
    asked, taken = manifest.settings.machines, sum(others.values())
    if taken + asked <= limit or (before is not None and asked <= before.settings.machines):
        return
    having = f"The other projects have {taken} ({_name_some(others)}), so" if others else "So"
    raise ProjectError(
        f"{manifest.project} asks for {asked} Machines (replication.maxConcurrentRequests), and all projects together"
        f" may have {limit} (CALLBOARD_MAX_MACHINES). {having} {max(0, limit - taken)} can be had. Lower the number of"
        f" {manifest.project} or of another project, or raise the limit."
    )


def _name_some(machines: Mapping[str, int]) -> str:
    """Return the projects with their Machines, the largest first."""
    largest = sorted(machines.items(), key=lambda item: (-item[1], item[0]))
    named = [f"{project}: {count}" for project, count in largest[:_MOST_NAMES]]
    if rest := largest[_MOST_NAMES:]:
        named.append(f"{len(rest)} more: {sum(count for _, count in rest)}")
    return ", ".join(named)
