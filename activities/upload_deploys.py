"""The activities that deploy an upload: it is checked, its packages are built, and it is published and removed.

Packages are built on a host with Machines, and all else is done by a control worker. Each activity begins with the
upload, or with the version that the check has stored, so that any such worker can execute it, after whatever crash.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.heartbeat import SHORT_INTERVAL, heartbeats
from callboard.projects.bounded import run_bounded
from callboard.projects.build import build, compiled_in
from callboard.projects.built import Built
from callboard.projects.bundle import extract
from callboard.projects.deploy import store_version
from callboard.projects.environments import Environments
from callboard.projects.machine_limit import check_machine_limit
from callboard.projects.manifest import Manifest, read_current
from callboard.projects.pointer import DeployRecord, move_pointer, put_record, refuse_if_deleting
from callboard.projects.preparation import bundle_in
from callboard.projects.scratch import scratch_folder
from callboard.projects.sources import read_sources
from callboard.projects.upload import UploadLimits
from callboard.projects.upload_preparation import complete_upload, prepare_upload, version_folder
from callboard.schemas.errors import BadRequest, ProjectError, StoreError
from callboard.schemas.workflow import names
from callboard.schemas.workflow.deploy import BuildInput, CheckedUpload, DeployInput, PublishedVersion
from callboard.settings import Settings
from callboard.storage import object_keys
from callboard.storage.store import Store

_AT_ONCE = 2
"""How many uploads are read at the same time: each takes a process, and place on the disk."""


@dataclass(frozen=True, kw_only=True)
class UploadActivities:
    """The activities `check_upload`, `publish_upload` and `remove_upload`, on the common task queue."""

    store: Store
    root: Path
    """Where uploads are unpacked."""
    limits: UploadLimits
    max_machines: int | None
    """How many Machines all projects may have together; None for any number."""
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    @classmethod
    def of(cls, settings: Settings, store: Store) -> UploadActivities:
        """Return the activities of a worker with these settings. Raises OSError if it gets no folder for uploads."""
        return cls(
            store=store,
            root=settings.make_folder("deploys"),
            limits=UploadLimits(settings.upload_limit),
            max_machines=settings.max_machines,
        )

    @activity.defn(name=names.CHECK_UPLOAD)
    async def check_upload(self, input: DeployInput) -> CheckedUpload:
        """Check an upload as a folder is checked, and store the bundle of the version that it is.

        Raises:
            ApplicationError: The project is wrong.
            StoreError, MachineError: The store failed, or this host.
        """
        async with self._fetched(input) as (archive, scratch):
            prepared = await run_bounded(
                prepare_upload, archive, input.project, self.limits, scratch, read=[archive], write=[scratch]
            )
            await refuse_if_deleting(self.store, input.project)
            await self._check_machines(input, prepared.manifest)
            version = prepared.manifest.version
            bundle = object_keys.bundle(input.project, version)
            # A version that there is keeps its bundle, whatever is sent under its name. Without a manifest, the bundle
            # is no version yet. Builders fetch it as workers fetch every bundle.
            if not (
                await self.store.exists(object_keys.manifest(input.project, version))
                and await self.store.exists(bundle)
            ):
                await self.store.put_file(bundle, bundle_in(version_folder(scratch)))
        return CheckedUpload(version=version, frozen=prepared.frozen)

    @activity.defn(name=names.PUBLISH_UPLOAD)
    async def publish_upload(self, input: DeployInput) -> PublishedVersion:
        """Publish the version of an upload whose packages are built. To do so twice has no further effect.

        Raises:
            ApplicationError: The project is wrong.
            StoreError, MachineError: The store failed, or this host.
        """
        info, project = activity.info(), input.project
        async with self._fetched(input) as (archive, scratch):
            file = scratch / "built.json"
            if not await self.store.get_file(object_keys.upload_build(project, input.upload), file):
                raise _gone(input)
            compiled = scratch / "compiled.tar.gz"
            await self.store.get_file(object_keys.upload_compiled(project, input.upload), compiled)
            prepared = await run_bounded(
                complete_upload, archive, project, self.limits, scratch, file, compiled, read=[archive], write=[scratch]
            )
            built = Built.model_validate_json(await asyncio.to_thread(file.read_bytes))
            await self._check_machines(input, prepared.manifest)
            bundle = bundle_in(version_folder(scratch))
            manifest = await store_version(self.store, prepared.manifest, prepared, built, bundle)
        # The ids of the execution and the time are those of the first try.
        record = DeployRecord(
            id=info.workflow_run_id or "",
            version=manifest.version,
            action="deploy",
            promoted=input.promote,
            at=info.scheduled_time,
            by=input.by,
            message=input.message,
            commit=input.commit,
        )
        await (move_pointer if input.promote else put_record)(self.store, project, record)
        current = await read_current(self.store, project)
        has_resources = current is not None and current.record == record.id and current.has_resources
        return PublishedVersion(version=manifest.version, deployed_at=record.at, has_resources=has_resources)

    @activity.defn(name=names.REMOVE_UPLOAD)
    async def remove_upload(self, input: DeployInput) -> None:
        """Remove an upload that was deployed. Raises StoreError."""
        for key in [key async for key in self.store.list(object_keys.upload(input.project, input.upload))]:
            await self.store.delete(key)

    @asynccontextmanager
    async def _fetched(self, input: DeployInput) -> AsyncGenerator[tuple[Path, Path]]:
        """Fetch the upload of a deploy, and yield its file and an empty folder for as long as the block lasts."""
        async with heartbeats(interval=SHORT_INTERVAL), self.places, scratch_folder(self.root) as folder:
            archive, scratch = folder / "upload.tar.gz", folder / "scratch"
            if not await self.store.get_file(object_keys.upload_bundle(input.project, input.upload), archive):
                raise _gone(input)
            scratch.mkdir()
            try:
                yield archive, scratch
            except (ProjectError, BadRequest) as error:
                raise _refusal(error) from error

    async def _check_machines(self, input: DeployInput, manifest: Manifest) -> None:
        if input.promote and self.max_machines is not None:
            await check_machine_limit(self.store, manifest, self.max_machines)


@dataclass(frozen=True, kw_only=True)
class BuildActivities:
    """The activity `build_version`, on a task queue that workers with Machines serve."""

    store: Store
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
            try:
                files = await self._fetch_files(input, scratch)
                sources = await run_bounded(read_sources, files, input.frozen, read=[files])
                built = await build(input.project, files, sources, input.frozen, self.store, self.environments, scratch)
            except ProjectError as error:
                raise _refusal(error) from error
            if built.compiled is not None:
                key = object_keys.upload_compiled(input.project, input.upload)
                await self.store.put_file(key, compiled_in(scratch))
            await self.store.put(object_keys.upload_build(input.project, input.upload), built.to_bytes())

    async def _fetch_files(self, input: BuildInput, scratch: Path) -> Path:
        """Unpack the bundle that `check_upload` has stored. It is not the whole version yet."""
        bundle, files = scratch / "bundle.tar.gz", scratch / "files"
        if not await self.store.get_file(object_keys.bundle(input.project, input.version), bundle):
            raise StoreError(f"The bundle of version {input.version} of {input.project} is not there any more.")
        await run_bounded(extract, bundle, files, read=[bundle], write=[scratch])
        return files


def _refusal(error: ProjectError | BadRequest) -> ApplicationError:
    """Return the error of an activity for a project that is wrong: to try again would not help."""
    return ApplicationError(error.message, type="ProjectRefused", non_retryable=True)


def _gone(input: DeployInput) -> ApplicationError:
    message = f"Upload {input.upload} of {input.project} is not there any more. Send the project again."
    return ApplicationError(message, type="UploadGone", non_retryable=True)
