"""Follow the catalog: which projects a worker serves, and how many Machines each of them may have."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from datetime import timedelta

from activities.workers.problem_log import ProblemLog
from projects.catalog import Catalog
from schemas.errors import CallboardError
from schemas.workflow.fleet import ProjectSize

log = logging.getLogger(__name__)


class DeployedProjects:
    """The deployed projects that this worker serves."""

    def __init__(self, catalog: Catalog, *, only: Collection[str] = ()) -> None:
        """Set up without reading anything yet.

        Args:
            catalog: The catalog of what is deployed.
            only: Projects to serve; empty for all.
        """
        self._catalog = catalog
        self._only = frozenset(only)
        self._sizes: dict[str, ProjectSize] = {}
        self._problems = ProblemLog(log, "nothing new can be served")
        self.changed = asyncio.Event()
        """Is set when `sizes` has changed."""

    @property
    def sizes(self) -> Mapping[str, ProjectSize]:
        """How many Machines each project may have. A new object whenever that has changed."""
        return self._sizes

    async def follow(self, interval: timedelta) -> None:
        """Refresh repeatedly until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(interval.total_seconds())

    async def refresh(self) -> None:
        """Follow the catalog once.

        A store that does not answer changes nothing, and a project that cannot be read affects no other.
        """
        try:
            projects = await self._catalog.list_projects()
        except CallboardError as error:
            self._problems.note("the projects", error.message)
            return
        self._problems.note("the projects", None)
        sizes: dict[str, ProjectSize] = {}
        for project in projects:
            if self._only and project not in self._only:
                continue
            problem = None
            before = self._sizes.get(project)
            try:
                size = await self._read(project, before)
            except CallboardError as error:
                size, problem = before, error.message
            if size is not None:
                sizes[project] = size
            self._problems.note(f"project {project}", problem)
        if sizes != self._sizes:
            self._sizes = sizes
            self.changed.set()

    async def _read(self, project: str, before: ProjectSize | None) -> ProjectSize | None:
        deployment = await self._catalog.get_deployment(project)
        if deployment is None or (before is not None and before.deployed_at == deployment.deployed_at):
            return deployment and before
        return ProjectSize(
            machines=deployment.manifest.settings.machines,
            deployed_at=deployment.deployed_at,
            replaces=before and before.deployed_at,
        )
