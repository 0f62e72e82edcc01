"""Follow the catalog: which projects are deployed, how many Machines they may have, and what is to follow a deploy."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import override

from temporalio.client import Client

from activities.workers.problem_log import ProblemLog
from callboard.projects.catalog import Catalog, Deployment
from callboard.projects.manifest import Manifest
from callboard.schemas.errors import CallboardError
from callboard.schemas.workflow.fleet import ProjectSize
from callboard.temporal.resources import start_apply_resources

log = logging.getLogger(__name__)

_READS_AT_ONCE = 16
"""How many projects are read at the same time: a worker that starts reads all of them, from a store that may be far."""


class CatalogFollower(ABC):
    """Looks at what is deployed of each project, again and again."""

    def __init__(self, catalog: Catalog, problem: str, *, only: Collection[str] = ()) -> None:
        """Set up without reading anything yet.

        Args:
            catalog: The catalog of deployed projects.
            problem: What cannot be done while something cannot be read, for the log.
            only: Projects to look at; empty for all.
        """
        self._catalog = catalog
        self._only = frozenset(only)
        self._problems = ProblemLog(log, problem)

    async def follow(self, interval: timedelta, on_step: Callable[[], None] = lambda: None) -> None:
        """Refresh repeatedly until cancelled. `on_step` is called whenever the store has answered, or has not."""
        while True:
            await self.refresh(on_step)
            await asyncio.sleep(interval.total_seconds())

    async def refresh(self, on_step: Callable[[], None] = lambda: None) -> list[str] | None:
        """Follow the catalog once, and return which projects there are; None if the store does not answer.

        A store that does not answer changes nothing. A project that cannot be read affects no other, and is looked at
        again the next time.
        """
        try:
            projects = await self._catalog.list_projects()
        except CallboardError as error:
            self._problems.note("the projects", error.message)
            return None
        finally:
            on_step()
        self._problems.note("the projects", None)
        projects = [project for project in projects if not self._only or project in self._only]
        left = iter(projects)

        async def look_at_some() -> None:
            for project in left:
                problem = None
                try:
                    await self._look_at(project, await self._catalog.get_deployment(project))
                except CallboardError as error:
                    problem = error.message
                self._problems.note(f"project {project}", problem)
                on_step()

        async with asyncio.TaskGroup() as group:
            for _ in range(_READS_AT_ONCE):
                group.create_task(look_at_some())
        return projects

    @abstractmethod
    async def _look_at(self, project: str, deployment: Deployment | None) -> None:
        """Follow what is deployed of a project. Raises CallboardError."""


class DeployedProjects(CatalogFollower):
    """The deployed projects that a worker serves."""

    def __init__(
        self, catalog: Catalog, *, only: Collection[str] = (), on_deploy: Callable[[Manifest], None] = lambda _: None
    ) -> None:
        """Set up as all followers. `on_deploy` is called with what is deployed of a project after something else."""
        super().__init__(catalog, "nothing new can be served", only=only)
        self._on_deploy = on_deploy
        self._known: dict[str, ProjectSize] = {}
        """The last known size of each project, also of one that cannot be read now."""
        self.sizes: Mapping[str, ProjectSize] = {}
        """How many Machines each project may have. A new object whenever that has changed."""
        self.changed = asyncio.Event()
        """Is set when `sizes` has changed."""

    @override
    async def _look_at(self, project: str, deployment: Deployment | None) -> None:
        before = self._known.pop(project, None) if deployment is None else self._known.get(project)
        if deployment is not None and (before is None or before.deployed_at != deployment.deployed_at):
            self._known[project] = ProjectSize(
                machines=deployment.manifest.settings.machines,
                deployed_at=deployment.deployed_at,
                replaces=before and before.deployed_at,
            )
            if before is not None:
                self._on_deploy(deployment.manifest)

    @override
    async def refresh(self, on_step: Callable[[], None] = lambda: None) -> list[str] | None:
        projects = await super().refresh(on_step)
        if projects is not None:
            self._known = {project: self._known[project] for project in projects if project in self._known}
            if self._known != self.sizes:
                self.sizes = dict(self._known)
                self.changed.set()
        return projects


class DeployedResources(CatalogFollower):
    """Starts a workflow `ApplyResources` for each deploy of a project with files of Jobs or AuthSessions.

    However many workers do that, there is one for each deploy.
    """

    def __init__(self, client: Client, workspace: str, catalog: Catalog) -> None:
        super().__init__(catalog, "its files of Jobs and AuthSessions are not applied yet")
        self._client = client
        self._workspace = workspace
        self._started: dict[str, datetime] = {}
        """The deploy of each project for which the workflow was started last."""

    @override
    async def _look_at(self, project: str, deployment: Deployment | None) -> None:
        if deployment is None or not deployment.has_resources:
            return
        if self._started.get(project) != deployment.deployed_at:
            await start_apply_resources(self._client, self._workspace, project, deployment.deployed_at)
            self._started[project] = deployment.deployed_at
