"""Publishing the projects of `callboard dev`: each is deployed at the start, and again whenever its folder changes.

Each folder is deployed independently, with one deploy of it at a time: a deploy that takes long or fails delays no
other folder, and changes during a deploy are deployed afterwards. A project that cannot be deployed keeps the version
that it had.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from devstack import messages
from devstack.folders import folders_below, is_project
from devstack.messages import BrokenProject
from devstack.watcher import changes
from projects.apis import check_syntax
from projects.deploy import deploy
from projects.environments import Environments
from projects.manifest import Manifest
from projects.settings_file import project_name, read_settings
from projects.threads import in_thread
from projects.version_reader import read_current
from schemas.errors import CallboardError, ProjectError, StoreError
from storage.store import Store

_SLOW = 2.0
"""Seconds after which a deploy that still goes on is reported, as it builds an environment while somebody waits."""
_SECOND_LOOK = 0.3
"""Seconds that a folder gets to change once more before an error in it is reported, as it may have been read while
somebody was writing in it."""
_TRY_AGAIN = 5.0
"""Seconds between two deploys of a project while the artifact store refuses."""


class _Place:
    """One project folder, and the state of its deploys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name: str | None = None
        """Name of the project when its settings were last read."""
        self.published: Manifest | None = None
        self.broken: BrokenProject | None = None
        self.gone = False
        self.told = asyncio.Event()
        """Event that is set once the first outcome for the folder is known."""
        self.changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    async def changes_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self.changed.wait()
        except TimeoutError:
            return False


class Publisher:
    """An async context manager that deploys project folders while it is entered.

    The state of the folders can be read at any time. After `announce`, every change of it is reported.
    """

    def __init__(
        self,
        parent: Path,
        store: Store,
        environments: Environments,
        report: Callable[[str], None],
        seen_within: timedelta,
    ) -> None:
        """Create a publisher without deploying anything.

        Args:
            parent: The folder that holds the project folders.
            store: The artifact store in which versions are published.
            environments: The environments of this host, for projects that declare dependencies.
            report: Function that takes one line for the user.
            seen_within: How long the api may go on with a version that it has seen. A new version is reported only
                after that time, so that a user who reads the report and starts a Run gets that version.
        """
        self._parent = parent
        self._store = store
        self._environments = environments
        self._report = report
        self._seen_within = seen_within.total_seconds()
        self._places: dict[str, _Place] = {}
        self._owners: dict[str, _Place] = {}
        """The folders that hold the names of projects, by name."""
        self._claiming = asyncio.Lock()
        self._announced = False
        self._refusal: StoreError | None = None
        self._group = asyncio.TaskGroup()
        self._work: asyncio.Task[None] | None = None

    @property
    def deployed(self) -> list[Manifest]:
        """The versions that are served, one for each project, in the order of the folders."""
        return [place.published for place in self._in_order() if place.published is not None]

    @property
    def broken(self) -> list[BrokenProject]:
        """The folders that cannot be deployed as they are now."""
        return [place.broken for place in self._in_order() if place.broken is not None]

    @property
    def pending(self) -> list[Path]:
        """The folders whose first deploy has no outcome yet."""
        return [place.folder for place in self._in_order() if not place.told.is_set()]

    async def __aenter__(self) -> Self:
        """Start to watch the folders, and to deploy those that exist."""
        first = [self._place(folder) for folder in folders_below(self._parent)]
        self._work = asyncio.create_task(self._publish_all(first), name="publish projects")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel all deploys, in bounded time."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait({self._work})

    async def settle(self, patience: timedelta) -> None:
        """Wait until the first deploy of every folder has an outcome, but no longer than `patience`.

        Raises:
            StoreError: The artifact store cannot be written.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(patience.total_seconds()):
                for place in list(self._places.values()):
                    await place.told.wait()
        if self._refusal is not None:
            raise self._refusal

    def announce(self) -> None:
        """Report changes from now on."""
        self._announced = True

    async def failed(self) -> None:
        """Wait for an unexpected error of the publisher and raise it; return only when the publisher is left."""
        if self._work is not None:
            await asyncio.wait({self._work})
            if not self._work.cancelled():
                self._work.result()

    async def _publish_all(self, first: list[_Place]) -> None:
        async with self._group:
            self._group.create_task(self._follow(), name="watch project folders")
            await asyncio.sleep(0)  # The watcher listens now, so changes after the reads below are noticed.
            for place in first:
                self._look_at(place)

    async def _follow(self) -> None:
        async for names in changes(self._parent, self._report):
            for folder in folders_below(self._parent):
                self._place(folder)
            for place in self._in_order():
                if names is None or place.folder.name in names:
                    self._look_at(place)

    def _place(self, folder: Path) -> _Place:
        return self._places.setdefault(folder.name, _Place(folder))

    def _in_order(self) -> list[_Place]:
        return [self._places[name] for name in sorted(self._places)]

    def _look_at(self, place: _Place) -> None:
        place.changed.set()
        if place.task is None:
            place.task = self._group.create_task(self._keep_up(place), name=f"deploy {place.folder.name}")

    async def _keep_up(self, place: _Place) -> None:
        while place.changed.is_set():
            place.changed.clear()
            try:
                await self._bring_up_to_date(place)
            except StoreError as error:
                if not self._announced:
                    self._refusal = error
                    place.told.set()
                    break
                await self._is_broken(place, f"{error.message} It is tried again.")
                await place.changes_within(_TRY_AGAIN)
                place.changed.set()
        place.task = None

    async def _bring_up_to_date(self, place: _Place) -> None:
        try:
            if is_project(place.folder):
                now = await self._deployed(place)
                if self._announced and _is_another(place.published, now):
                    await place.changes_within(self._seen_within)
                self._is_published(place, now)
            elif not await place.changes_within(_SECOND_LOOK):
                self._is_gone(place)
        except StoreError:
            raise
        except CallboardError as error:
            if not await place.changes_within(_SECOND_LOOK):
                await self._is_broken(place, error.message)

    async def _deployed(self, place: _Place) -> Manifest:
        slow = asyncio.get_running_loop().call_later(_SLOW, self._report, messages.pending(place.folder))
        try:
            await self._claim_name(place)
            if place.published is not None:
                await in_thread(_refuse_new_syntax_errors, place.folder, place.published)
            return await deploy(place.folder, self._store, self._environments)
        finally:
            slow.cancel()

    async def _claim_name(self, place: _Place) -> None:
        """Claim the project's name for the folder, so that no two folders publish versions of one project in turn.

        Raises:
            ProjectError: Another folder has claimed the name first.
        """
        # Folders claim names one after the other, so that at the start the first folder by name gets a name.
        async with self._claiming:
            name = await in_thread(_name_of, place.folder)
            owner = self._owners.setdefault(name, place)
        if owner is not place:
            raise ProjectError(f"projectName: {name} is the name of the project in {owner.folder} already.")
        place.name = name

    def _release_names(self, place: _Place, *, but: str | None = None) -> None:
        released = [name for name, owner in self._owners.items() if owner is place and name != but]
        for name in released:
            del self._owners[name]
        if released:  # Another folder may be broken only because this one had its name.
            for other in self._in_order():
                if other.broken is not None and other is not place:
                    self._look_at(other)

    def _is_published(self, place: _Place, now: Manifest) -> None:
        before, was_well = place.published, place.broken is None and not place.gone
        place.published, place.broken, place.gone = now, None, False
        place.told.set()
        self._release_names(place, but=now.project)
        if before is not None and before.project != now.project:
            self._tell(messages.renamed(place.folder, before, now))
        if _is_another(before, now):
            self._tell(messages.published(now))
        elif not was_well:
            self._tell(messages.good_again(now))

    async def _is_broken(self, place: _Place, reason: str) -> None:
        now = BrokenProject(place.folder, reason, await self._version_served(place))
        before, place.broken, place.gone = place.broken, now, False
        place.told.set()
        if now != before:
            self._tell(messages.broken(now))

    def _is_gone(self, place: _Place) -> None:
        if place.published is not None and not place.gone:
            self._tell(messages.gone(place.folder, place.published))
        place.broken, place.gone = None, True
        place.told.set()
        self._release_names(place)

    async def _version_served(self, place: _Place) -> str | None:
        if place.published is not None:
            return place.published.version
        if place.name is None:
            return None
        with suppress(StoreError):  # The error of the project is to be reported all the same.
            current = await read_current(self._store, place.name)
            return current.version if current is not None else None
        return None

    def _tell(self, line: str) -> None:
        if self._announced:
            self._report(line)


def _is_another(before: Manifest | None, now: Manifest) -> bool:
    return before is None or (before.project, before.version) != (now.project, now.version)


def _name_of(folder: Path) -> str:
    return project_name(folder, read_settings(folder))


def _refuse_new_syntax_errors(folder: Path, published: Manifest) -> None:
    """Raise ProjectError if a file does not parse that is not already broken in the published version.

    A deploy only warns of a file that does not parse. But here, such a file may just be being written.
    """
    known = {warning.file for warning in published.warnings}
    new = [str(warning) for warning in check_syntax(folder) if warning.file not in known]
    if new:
        raise ProjectError(f"{'; '.join(new)}.")
