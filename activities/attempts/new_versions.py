"""Have an idle Machine change to a version as soon as that is deployed, so that the first Run need not wait."""

from __future__ import annotations

import asyncio
import logging

from activities.attempts.attempt_steps import AttemptResources, prepare_version
from callboard.projects.manifest import Manifest
from callboard.schemas.errors import CallboardError

log = logging.getLogger(__name__)


class NewVersions:
    """The versions that this worker prepares ahead."""

    def __init__(self, resources: AttemptResources) -> None:
        self._resources = resources
        self._tasks: set[asyncio.Task[None]] = set()

    def deployed(self, manifest: Manifest) -> None:
        """Begin to prepare this version, if there is an idle Machine of its project."""
        pool = self._resources.pools.get(manifest.project)
        if pool is not None and pool.warm:
            task = asyncio.create_task(self._prepare(manifest), name=f"prepare {manifest.project}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Prepare nothing any more."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _prepare(self, manifest: Manifest) -> None:
        try:
            version = await prepare_version(self._resources, manifest)
        except CallboardError as error:  # an Attempt tries again, and hears why
            log.warning("Version %s of %s could not be prepared: %s", manifest.version, manifest.project, error)
        else:
            self._resources.pools[manifest.project].change_ahead(version)
