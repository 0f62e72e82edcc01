"""Follow the catalog: which projects a worker serves, and how many Machines each of them may have."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta

from activities.workers.problem_log import ProblemLog
from projects.catalog import Catalog
from schemas.errors import CallboardError
from schemas.workflow.fleet import ProjectSize

log = logging.getLogger(__name__)

_READS_AT_ONCE = 16
"""How many projects are read at the same time: a worker that starts reads all of them, from a store that may be far."""


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

    async def follow(self, interval: timedelta, on_step: Callable[[], None] = lambda: None) -> None:
        """Refresh repeatedly until cancelled. `on_step` is called whenever the store has answered, or has not."""
        while True:
            await self.refresh(on_step)
            await asyncio.sleep(interval.total_seconds())

    async def refresh(self, on_step: Callable[[], None] = lambda: None) -> None:
        """Follow the catalog once.

        A store that does not answer changes nothing, and a project that cannot be read affects no other.
        """
        try:
            projects = await self._catalog.list_projects()
        except CallboardError as error:
            self._problems.note("the projects", error.message)
            return
        finally:
            on_step()
        self._problems.note("the projects", None)
        served = [project for project in projects if not self._only or project in self._only]
        read: dict[str, ProjectSize | None] = {}
        left = iter(served)

        async def read_some() -> None:
            for project in left:
                read[project] = await self._try_read(project)
                on_step()

        async with asyncio.TaskGroup() as group:
            for _ in range(_READS_AT_ONCE):
                group.create_task(read_some())
        sizes = {project: size for project in served if (size := read[project]) is not None}
        if sizes != self._sizes:
            self._sizes = sizes
            self.changed.set()

    async def _try_read(self, project: str) -> ProjectSize | None:
        """Return the project's size, or the last known one if it cannot be read; None if there is none."""
        problem = None
        before = self._sizes.get(project)
        try:
            size = await self._read(project, before)
        except CallboardError as error:
            size, problem = before, error.message
        self._problems.note(f"project {project}", problem)
        return size

    async def _read(self, project: str, before: ProjectSize | None) -> ProjectSize | None:
        deployment = await self._catalog.get_deployment(project)
        if deployment is None or (before is not None and before.deployed_at == deployment.deployed_at):
            return deployment and before
        return ProjectSize(
            machines=deployment.manifest.settings.machines,
            deployed_at=deployment.deployed_at,
            replaces=before and before.deployed_at,
        )
