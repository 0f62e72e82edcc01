"""The activities that change a project as a whole: they move its pointer, or remove all that belongs to it.

Each of them can be repeated at any time, from wherever another try of it was interrupted.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio import activity
from temporalio.client import Client

from activities.heartbeat import heartbeats
from callboard.projects.machine_limit import check_machine_limit
from callboard.projects.manifest import Current, Manifest, is_version, read_current, read_manifest
from callboard.projects.pointer import DeployRecord, mark_deleting, move_pointer, withdraw_pointer
from callboard.schemas.errors import NotFound, ProjectError
from callboard.schemas.workflow import names
from callboard.schemas.workflow.project_changes import (
    DeleteProjectInput,
    DeleteProjectResult,
    MovePointerInput,
    MovePointerResult,
    PointerAction,
    Refusal,
    RefusalKind,
)
from callboard.storage import object_keys
from callboard.storage.store import Store
from callboard.temporal.jobs import Jobs
from callboard.temporal.open_runs import OpenRuns

log = logging.getLogger(__name__)

_CONCURRENT_DELETES = 8
"""How many objects are removed at the same time: a store has few connections, and Attempts need them more."""
_REMOVED_AT_ONCE = 1_000
_PAUSE = 1.0
"""Seconds after which what was told to end is looked for again: lists of Temporal are about that old."""


@dataclass(frozen=True, kw_only=True)
class ProjectActivities:
    """The activities `move_pointer`, `withdraw_project` and `remove_project`, on the common task queue."""

    client: Client
    store: Store
    max_machines: int | None
    """How many Machines all projects may have together; None for any number."""
    catalog_age: timedelta
    """How long apis and workers may believe that a project is there which is not."""

    @activity.defn(name=names.MOVE_POINTER_ACTIVITY)
    async def move_pointer(self, input: MovePointerInput) -> MovePointerResult:
        """Let another version of the project be the deployed one, unless something is against it.

        Raises:
            StoreError: The store failed, or what it has is damaged.
        """
        info, project = activity.info(), input.project
        current = await read_current(self.store, project)
        if input.action is PointerAction.PROMOTE:
            manifest = await self._read_version(project, input.version or "")
        elif current is not None and current.record == info.workflow_run_id:
            manifest = await self._read_version(project, current.version)  # an earlier try has moved it
        elif (manifest := await self._previous(project, current)) is None:
            message = f"Project {project} has no version that was deployed before this one. Promote one instead."
            return MovePointerResult(refused=Refusal(kind=RefusalKind.CONFLICT, message=message))
        if manifest is None:
            message = f"Project {project} has no version {input.version}."
            return MovePointerResult(refused=Refusal(kind=RefusalKind.NOT_FOUND, message=message))
        if self.max_machines is not None:
            try:
                await check_machine_limit(self.store, manifest, self.max_machines)
            except ProjectError as error:
                return MovePointerResult(refused=Refusal(kind=RefusalKind.CONFLICT, message=error.message))
        # The ids of the execution and the time are those of the first try: to repeat the move has no further effect.
        record = DeployRecord(
            id=info.workflow_run_id or "",
            version=manifest.version,
            action=input.action.value,
            at=info.scheduled_time,
            by=input.by,
        )
        await move_pointer(self.store, project, record)
        return MovePointerResult(version=manifest.version)

    async def _read_version(self, project: str, version: str) -> Manifest | None:
        return await read_manifest(self.store, project, version) if is_version(version) else None

    async def _previous(self, project: str, current: Current | None) -> Manifest | None:
        """Return the version that a rollback returns to: the one before that is still there."""
        for version in () if current is None else current.before:
            if (manifest := await self._read_version(project, version)) is not None:
                return manifest
        return None

    @activity.defn(name=names.WITHDRAW_PROJECT)
    async def withdraw_project(self, input: DeleteProjectInput) -> DeleteProjectResult:
        """Take the project out of service, unless Runs or Deliveries are open that are not to be canceled.

        Raises:
            StoreError: The store failed.
            Unavailable, ConfigurationError: Temporal cannot say what is open.
        """
        begun = await self.store.exists(object_keys.deleting(input.project))  # by an earlier try
        if not begun and not input.cancel_open_runs and (found := await OpenRuns(self.client).count(input.project)):
            message = (
                f"Project {input.project} has not ended all that it has begun: {found}. Wait for the end, or delete the"
                " project with openRuns=cancel."
            )
            return DeleteProjectResult(refused=Refusal(kind=RefusalKind.CONFLICT, message=message))
        await mark_deleting(self.store, input.project)
        await withdraw_pointer(self.store, input.project)
        return DeleteProjectResult()

    @activity.defn(name=names.REMOVE_PROJECT)
    async def remove_project(self, input: DeleteProjectInput) -> None:
        """End all that runs for a project that is out of service, and remove all that is stored of it.

        Raises:
            StoreError: The store failed.
            Unavailable, ConfigurationError: Temporal cannot be asked.
        """
        async with heartbeats():
            # Others may believe for that long that the project is there, and start something.
            await asyncio.sleep(self.catalog_age.total_seconds() + _PAUSE)
            while await self._end_all(input.workspace, input.project):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(_PAUSE)
            for prefix in object_keys.OF_PROJECTS:
                await self._remove_all(f"{prefix}{input.project}/")
        log.info("Project %s is deleted, as %s has asked for", input.project, input.by)

    async def _end_all(self, workspace: str, project: str) -> bool:
        """Tell all that runs for the project to end, and return whether there was anything.

        Jobs come first, as they start JobRuns, which start Runs.
        """
        jobs = Jobs(self.client)
        found = await jobs.list_all(workspace, project)
        for job in found:
            try:
                await jobs.delete(workspace, project, job.ref.job_id, source=job.ref.source)
            except NotFound:
                continue
        return await OpenRuns(self.client).end_all(project) or bool(found)

    async def _remove_all(self, prefix: str) -> None:
        """Remove all objects below a prefix, some at a time, as there may be millions."""
        some: list[str] = []
        async for key in self.store.list(prefix):
            some.append(key)
            if len(some) == _REMOVED_AT_ONCE:
                await self._remove(some)
                some = []
        await self._remove(some)
        await self.store.tidy(prefix, datetime.now(UTC))

    async def _remove(self, some: list[str]) -> None:
        left = iter(some)

        async def remove_next() -> None:
            for key in left:
                await self.store.delete(key)

        async with asyncio.TaskGroup() as group:
            for _ in range(_CONCURRENT_DELETES):
                group.create_task(remove_next())
