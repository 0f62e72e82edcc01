"""Follow the catalog: after each deploy of a project with files of Jobs or AuthSessions, have them applied."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from activities.workers.problem_log import ProblemLog
from projects.catalog import Catalog
from schemas.errors import CallboardError
from temporal.resources import ResourceApplications

log = logging.getLogger(__name__)

_READS_AT_ONCE = 16
"""How many projects are looked at at the same time: a worker that starts looks at all of them."""


class DeployedResources:
    """Starts a workflow `ApplyResources` for each deploy. However many workers do that, there is one for each."""

    def __init__(self, workspace: str, catalog: Catalog, applications: ResourceApplications) -> None:
        """Set up without reading anything yet.

        Args:
            workspace: The workspace that Jobs and AuthSessions belong to.
            catalog: The catalog of what is deployed.
            applications: Starts the workflows.
        """
        self._workspace = workspace
        self._catalog = catalog
        self._applications = applications
        self._started: dict[str, datetime] = {}
        """The deploy of each project for which the workflow was started last."""
        self._problems = ProblemLog(log, "its files of Jobs and AuthSessions are not applied yet")

    async def follow(self, interval: timedelta, on_step: Callable[[], None] = lambda: None) -> None:
        """Refresh repeatedly until cancelled. `on_step` is called whenever the store has answered, or has not."""
        while True:
            await self.refresh(on_step)
            await asyncio.sleep(interval.total_seconds())

    async def refresh(self, on_step: Callable[[], None] = lambda: None) -> None:
        """Follow the catalog once. What fails is tried again the next time, and affects no other project."""
        try:
            projects = await self._catalog.list_projects()
        except CallboardError as error:
            self._problems.note("the projects", error.message)
            return
        finally:
            on_step()
        self._problems.note("the projects", None)
        left = iter(projects)

        async def look_at_some() -> None:
            for project in left:
                await self._look_at(project)
                on_step()

        async with asyncio.TaskGroup() as group:
            for _ in range(_READS_AT_ONCE):
                group.create_task(look_at_some())

    async def _look_at(self, project: str) -> None:
        problem = None
        try:
            deployment = await self._catalog.get_deployment(project)
            if deployment is None or not deployment.has_resources:
                return
            if self._started.get(project) != deployment.deployed_at:
                await self._applications.start(self._workspace, project, deployment.deployed_at)
                self._started[project] = deployment.deployed_at
        except CallboardError as error:
            problem = error.message
        self._problems.note(f"project {project}", problem)
