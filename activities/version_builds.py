"""The activity that builds the environment of a version that is being deployed, on a host with Machines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from temporalio import activity

from activities.heartbeat import SHORT_INTERVAL, heartbeats
from activities.upload_deploys import refusal
from callboard.projects.bounded import run_bounded
from callboard.projects.build import build
from callboard.projects.environments import Environments
from callboard.projects.scratch import scratch_folder
from callboard.projects.sources import read_sources
from callboard.projects.versions import VersionFolders
from callboard.schemas.errors import ProjectError
from callboard.schemas.workflow import names
from callboard.schemas.workflow.deploy import BuildInput
from callboard.storage import keys
from callboard.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class BuildActivities:
    """The activity `build_version`, on a task queue that workers with Machines serve."""

    store: Store
    versions: VersionFolders
    environments: Environments
    root: Path
    """Where a build has files of its own."""

    @activity.defn(name=names.BUILD_VERSION)
    async def build_version(self, input: BuildInput) -> None:
        """Resolve and build the packages of a version in their box, and store what comes of it beside the upload.

        Raises:
            ApplicationError: The packages cannot be resolved or built.
            StoreError: The store failed.
            ConfigurationError: The walls around packages cannot stand on this host.
        """
        async with heartbeats(interval=SHORT_INTERVAL), scratch_folder(self.root) as scratch:
            files = await self.versions.ensure(input.project, input.version)
            try:
                sources = await run_bounded(read_sources, files, input.frozen, read=[files])
                built = await build(input.project, files, sources, input.frozen, self.store, self.environments, scratch)
            except ProjectError as error:
                raise refusal(error) from error
            await self.store.put(keys.upload_build(input.project, input.upload), built.to_bytes())
