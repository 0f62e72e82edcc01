"""Publishing the projects of `callboard dev`: each is deployed at the start, and again whenever its folder changes.

Each folder is deployed independently, with one deploy of it at a time: a deploy that takes long or fails delays no
other folder, and changes during a deploy are deployed afterwards. A project that cannot be deployed keeps the version
that it had. A folder that is removed, or gets another name, takes its project along. That is told some time before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from callboard.dev.events import Event
from callboard.dev.folders import is_project_folder, list_project_folders
from callboard.dev.project_folder import BrokenProject, ProjectFolder
from callboard.dev.watcher import watch_changes
from callboard.projects.deploy import deploy
from callboard.projects.environments import Environments
from callboard.projects.manifest import Manifest, read_current
from callboard.projects.processes import run_in_thread
from callboard.projects.settings_file import read_settings, resolve_project_name
from callboard.schemas.errors import CallboardError, ProjectError, StoreError
from callboard.storage.store import Store

_SETTLE_SECONDS = 0.3
"""Seconds that a folder gets to change once more before an error in it is reported, as it may have been read while
somebody was writing in it."""
_REMOVAL_SECONDS = 30.0
"""Seconds that a folder which was removed gets to come back before its project is deleted: an editor may have put it
aside for a moment, or somebody has made a mistake."""
_STORE_RETRY_SECONDS = 5.0
"""Seconds between two deploys of a project while the artifact store refuses."""


def format_version(manifest: Manifest) -> str:
    """Describe a version that is served; the caller has to show its warnings."""
    return f"{manifest.project}   version {manifest.version}, APIs: {', '.join(manifest.apis)}"


def format_broken(project: BrokenProject) -> str:
    """Report a project that cannot be deployed."""
    line = f"NOT DEPLOYED {project.folder.name}   {_join_lines(project.reason).removesuffix('.')}."
    return line if project.served_version is None else f"{line} Version {project.served_version} is still served."


def format_pending(folder: Path) -> str:
    """Report a project whose first deploy goes on."""
    return f"Project in {folder.name}   is being deployed …"


def format_build(project: str) -> str:
    """Report that somebody has to wait for an environment."""
    return f"Project {project}   its environment is being built, which may take a minute …"


class Publisher:
    """An async context manager that deploys project folders while it is entered.

    The state of the folders can be read at any time. After `start_reporting`, every change of it is reported.
    """

    def __init__(
        self,
        parent: Path,
        store: Store,
        environments: Environments,
        report: Callable[[str], None],
        delete: Callable[[str], Awaitable[None]],
        seen_within: timedelta,
        max_machines: int | None = None,
    ) -> None:
        """Create a publisher without deploying anything.

        Args:
            parent: The folder that holds the project folders.
            store: The artifact store in which versions are published.
            environments: The environments of this host, for projects that declare dependencies.
            report: Function that takes one line for the user.
            delete: Function that deletes a project with all that belongs to it. Raises CallboardError if it cannot.
            seen_within: How long the api may go on with a version that it has seen. A new version is reported only
                after that time, so that a user who reads the report and starts a Run gets that version.
            max_machines: How many Machines all projects may have together; None for any number.
        """
        self._parent = parent
        self._store = store
        self._environments = environments
        self._report = report
        self._delete = delete
        self._cache_seconds = seen_within.total_seconds()
        self._max_machines = max_machines
        self._folders: dict[str, ProjectFolder] = {}
        self._name_owners: dict[str, ProjectFolder] = {}
        """The folders that hold the names of projects, by name."""
        self._claim_lock = asyncio.Lock()
        self._reporting = False
        self._store_error: StoreError | None = None
        self._group = asyncio.TaskGroup()
        self._task: asyncio.Task[None] | None = None

    @property
    def deployed(self) -> list[Manifest]:
        """The versions that are served, one for each project, in the order of the folders."""
        return [folder.published for folder in self._sorted_folders() if folder.published is not None]

    @property
    def folders(self) -> dict[str, Path]:
        """The folder of each project that is served."""
        return {each.published.project: each.path for each in self._sorted_folders() if each.published is not None}

    @property
    def broken(self) -> list[BrokenProject]:
        """The folders that cannot be deployed as they are now."""
        return [folder.broken for folder in self._sorted_folders() if folder.broken is not None]

    @property
    def pending(self) -> list[Path]:
        """The folders whose first deploy has no outcome yet."""
        return [folder.path for folder in self._sorted_folders() if not folder.has_outcome.is_set()]

    async def __aenter__(self) -> Self:
        """Start to watch the folders, and to deploy those that exist."""
        first = [self._get_or_add_folder(folder) for folder in list_project_folders(self._parent)]
        self._task = asyncio.create_task(self._publish_all(first), name="publish projects")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel all deploys, in bounded time."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def wait_for_first_deploys(self, patience: timedelta) -> None:
        """Wait until the first deploy of every folder has an outcome, but no longer than `patience`.

        Raises:
            StoreError: The artifact store cannot be written.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(patience.total_seconds()):
                for folder in list(self._folders.values()):
                    await folder.has_outcome.wait()
        if self._store_error is not None:
            raise self._store_error

    def start_reporting(self) -> None:
        """Report changes from now on."""
        self._reporting = True

    async def wait_for_failure(self) -> None:
        """Wait for an unexpected error of the publisher and raise it; return only when the publisher is left."""
        if self._task is not None:
            await asyncio.wait({self._task})
            if not self._task.cancelled():
                self._task.result()

    async def _publish_all(self, first: list[ProjectFolder]) -> None:
        async with self._group:
            self._group.create_task(self._watch(), name="watch project folders")
            await asyncio.sleep(0)  # The watcher listens now, so changes after the reads below are noticed.
            for folder in first:
                self._schedule_deploy(folder)

    async def _watch(self) -> None:
        async for names in watch_changes(self._parent, self._report):
            for folder in list_project_folders(self._parent):
                self._get_or_add_folder(folder)
            for folder in self._sorted_folders():
                if names is None or folder.path.name in names:
                    self._schedule_deploy(folder)

    def _get_or_add_folder(self, folder: Path) -> ProjectFolder:
        return self._folders.setdefault(folder.name, ProjectFolder(folder))

    def _sorted_folders(self) -> list[ProjectFolder]:
        return [self._folders[name] for name in sorted(self._folders)]

    def _schedule_deploy(self, folder: ProjectFolder) -> None:
        folder.changed.set()
        if folder.task is None:
            folder.task = self._group.create_task(self._deploy_until_current(folder), name=f"deploy {folder.path.name}")

    async def _deploy_until_current(self, folder: ProjectFolder) -> None:
        while folder.changed.is_set():
            folder.changed.clear()
            try:
                await self._deploy_or_report(folder)
            except StoreError as error:
                if not self._reporting:
                    self._store_error = error
                    folder.has_outcome.set()
                    break
                await self._set_broken(folder, f"{error.message} It is tried again.")
                await folder.wait_for_change(_STORE_RETRY_SECONDS)
                folder.changed.set()
        folder.task = None

    async def _deploy_or_report(self, folder: ProjectFolder) -> None:
        try:
            if is_project_folder(folder.path):
                now = await self._deploy(folder)
                if self._reporting and _is_new_version(folder.published, now):
                    await folder.wait_for_change(self._cache_seconds)
                self._set_published(folder, now)
                folder.note_parent()
            elif not await folder.wait_for_change(_SETTLE_SECONDS):
                await self._set_removed(folder)
        except StoreError:
            raise
        except CallboardError as error:
            if not await folder.wait_for_change(_SETTLE_SECONDS):
                await self._set_broken(folder, error.message)

    async def _deploy(self, folder: ProjectFolder) -> Manifest:
        await self._claim_name(folder)
        return await deploy(
            folder.path,
            self._store,
            self._environments,
            max_machines=self._max_machines,
            by="callboard dev",
            accept=partial(_refuse_new_syntax_errors, folder.published),
        )

    async def _claim_name(self, folder: ProjectFolder) -> None:
        """Claim the project's name for the folder, so that no two folders publish versions of one project in turn.

        Raises:
            ProjectError: Another folder has claimed the name first.
        """
        # Folders claim names one after the other, so that at the start the first folder by name gets a name.
        async with self._claim_lock:
            name = await run_in_thread(_read_project_name, folder.path)
            owner = self._name_owners.setdefault(name, folder)
        if owner is not folder:
            raise ProjectError(f"projectName: {name} is the name of the project in {owner.path} already.")
        folder.name = name

    def _release_names(self, folder: ProjectFolder, *, but: str | None = None) -> None:
        released = [name for name, owner in self._name_owners.items() if owner is folder and name != but]
        for name in released:
            del self._name_owners[name]
        if released:  # Another folder may be broken only because this one had its name.
            self._retry_broken(folder)

    def _retry_broken(self, freed_by: ProjectFolder) -> None:
        for other in self._sorted_folders():
            # One that is being looked at may be found broken only because of what was not free yet.
            if (other.broken is not None or other.task is not None) and other is not freed_by:
                self._schedule_deploy(other)

    def _set_published(self, folder: ProjectFolder, now: Manifest) -> None:
        before, was_well = folder.published, folder.broken is None and not folder.removed
        folder.published, folder.broken, folder.removed = now, None, False
        folder.has_outcome.set()
        self._release_names(folder, but=now.project)
        if before is not None and before.settings.machines > now.settings.machines:
            self._retry_broken(folder)  # Another folder may be broken only because this project had its Machines.
        if before is not None and before.project != now.project:
            self._report_line(
                f"Project {before.project}   {folder.path} is now project {now.project};"
                f" version {before.version} of {before.project} is still served"
            )
        if _is_new_version(before, now):
            warnings = "; ".join(_join_lines(str(warning)) for warning in now.warnings)
            line = f"Published {format_version(now)}" + (f"   (warning: {warnings})" if warnings else "")
            about = {"project": now.project, "version": now.version, "apis": list(now.apis)}
            self._report_line(Event(line, "deployed", **about, warnings=[str(warning) for warning in now.warnings]))
        elif not was_well:
            self._report_line(f"Project {now.project}   is valid again: version {now.version} is still served")

    async def _set_broken(self, folder: ProjectFolder, reason: str) -> None:
        now = BrokenProject(folder.path, reason, await self._find_served_version(folder))
        before, folder.broken, folder.removed = folder.broken, now, False
        folder.has_outcome.set()
        if now != before:
            about = {"folder": str(now.folder), "reason": now.reason, "servedVersion": now.served_version}
            self._report_line(Event(format_broken(now), "not-deployed", **about))

    async def _set_removed(self, folder: ProjectFolder) -> None:
        served, was_there = folder.published, not folder.removed
        folder.broken, folder.removed = None, True
        folder.has_outcome.set()
        self._release_names(folder)
        if served is None or not was_there or not self._reporting:
            return
        if not folder.was_removed_itself():
            still = f"version {served.version} is still served"
            self._report_line(f"Project {served.project}   there is no project in {folder.path} any more; {still}")
            return
        line = (
            f"Project {served.project}   {folder.path} no longer exists: in {_REMOVAL_SECONDS:g} seconds, the project"
            " is deleted with its Jobs, AuthSessions and artifacts, unless there is a folder of it again"
        )
        about = {"project": served.project, "folder": str(folder.path)}
        self._report_line(Event(line, "folder-removed", **about, seconds=_REMOVAL_SECONDS))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _REMOVAL_SECONDS
        while await folder.wait_for_change(deadline - loop.time()):
            if is_project_folder(folder.path):
                return
            folder.changed.clear()
        if not folder.was_removed_itself() or served.project in self._name_owners:
            return  # Where its folder has got another name, the project may have kept its own.
        try:
            await self._delete(served.project)
        except CallboardError as error:
            self._report_line(
                f"Project {served.project}   could not be deleted: {error.message} Delete it with"
                f" `callboard projects delete {served.project}`"
            )
        else:
            folder.published = None
            self._report_line(Event(f"Deleted {served.project}", "deleted", **about))

    async def _find_served_version(self, folder: ProjectFolder) -> str | None:
        if folder.published is not None:
            return folder.published.version
        if folder.name is None:
            return None
        with suppress(StoreError):  # The error of the project is to be reported all the same.
            current = await read_current(self._store, folder.name)
            return current.version if current is not None else None
        return None

    def _report_line(self, line: str) -> None:
        if self._reporting:
            self._report(line)


def _is_new_version(before: Manifest | None, now: Manifest) -> bool:
    return before is None or (before.project, before.version) != (now.project, now.version)


def _join_lines(text: str) -> str:
    return " ".join(text.split())


def _read_project_name(folder: Path) -> str:
    return resolve_project_name(folder, read_settings(folder))


def _refuse_new_syntax_errors(published: Manifest | None, now: Manifest) -> None:
    """Raise ProjectError if a file does not parse that is not already broken in the published version, if there is one.

    A deploy only warns of a file that does not parse. But here, such a file may just be being written.
    """
    broken = {warning.file for warning in published.warnings if warning.unparsed} if published is not None else None
    new = [str(warning) for warning in now.warnings if warning.unparsed and warning.file not in (broken or ())]
    if broken is not None and new:
        raise ProjectError(f"{'; '.join(new)}.")
