"""The projects of `callboard dev`: each is deployed at the start, and again whenever its folder changes.

Every folder is deployed for itself, one deploy at a time: one that takes long or fails holds up no other, and what
changes meanwhile is deployed afterwards. A project that cannot be deployed keeps the version that it had.
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
"""Seconds after which a deploy that goes on is told: it builds an environment, and somebody waits."""
_SECOND_LOOK = 0.3
"""Seconds that a folder gets to change once more before it is said that something is wrong with it: it may have been
looked at while somebody was writing in it."""
_TRY_AGAIN = 5.0
"""Seconds between two tries while the artifact store refuses."""


class _Place:
    """One folder, and what has become of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name: str | None = None
        """Of its project, as its settings said last."""
        self.published: Manifest | None = None
        self.broken: BrokenProject | None = None
        self.gone = False
        self.told = asyncio.Event()
        """Set once it is known what has become of it."""
        self.changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    async def changes_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self.changed.wait()
        except TimeoutError:
            return False


class Publisher:
    """Deploys project folders from when it is entered until it is left.

    What has become of them can be read at any time; after `announce`, every change of that is told.
    """

    def __init__(
        self,
        parent: Path,
        store: Store,
        environments: Environments,
        report: Callable[[str], None],
        seen_within: timedelta,
    ) -> None:
        """Nothing is deployed yet.

        Args:
            parent: The folder of the project folders.
            store: Where versions are published.
            environments: Of this host, for projects that declare dependencies.
            report: Takes one line for the user.
            seen_within: How long the api may go on with a version that it has seen. A new one is told only then, so
                that who reads of it and starts a Run has it.
        """
        self._parent = parent
        self._store = store
        self._environments = environments
        self._report = report
        self._seen_within = seen_within.total_seconds()
        self._places: dict[str, _Place] = {}
        self._owners: dict[str, _Place] = {}
        """Names of projects, and the folders that hold them."""
        self._claiming = asyncio.Lock()
        self._announced = False
        self._refusal: StoreError | None = None
        self._group = asyncio.TaskGroup()
        self._work: asyncio.Task[None] | None = None

    @property
    def deployed(self) -> list[Manifest]:
        """The version that is served of each project, by folder."""
        return [place.published for place in self._in_order() if place.published is not None]

    @property
    def broken(self) -> list[BrokenProject]:
        """The folders that cannot be deployed as they are now."""
        return [place.broken for place in self._in_order() if place.broken is not None]

    @property
    def pending(self) -> list[Path]:
        """The folders whose first deploy still goes on."""
        return [place.folder for place in self._in_order() if not place.told.is_set()]

    async def __aenter__(self) -> Self:
        """Begin to watch, and to deploy what is there."""
        first = [self._place(folder) for folder in folders_below(self._parent)]
        self._work = asyncio.create_task(self._publish_all(first), name="publish projects")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Break off whatever is being deployed. Bounded."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait({self._work})

    async def settle(self, patience: timedelta) -> None:
        """Wait until it is known of every folder what has become of it, but no longer than `patience`.

        Raises:
            StoreError: the artifact store cannot be written.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(patience.total_seconds()):
                for place in list(self._places.values()):
                    await place.told.wait()
        if self._refusal is not None:
            raise self._refusal

    def announce(self) -> None:
        """From now on, tell what changes."""
        self._announced = True

    async def failed(self) -> None:
        """Wait for what must not happen, and raise it. Returns only when the publisher is left."""
        if self._work is not None:
            await asyncio.wait({self._work})
            if not self._work.cancelled():
                self._work.result()

    async def _publish_all(self, first: list[_Place]) -> None:
        async with self._group:
            self._group.create_task(self._follow(), name="watch project folders")
            await asyncio.sleep(0)  # It listens now: what is read below and changes after that is read again.
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
        """Two folders must not publish versions of one project in turn: the first one has the name."""
        async with self._claiming:  # in turn, so that at the start it is the first by name
            name = await in_thread(_name_of, place.folder)
            owner = self._owners.setdefault(name, place)
        if owner is not place:
            raise ProjectError(f"projectName: {name} is the name of the project in {owner.folder} already.")
        place.name = name

    def _release_names(self, place: _Place, *, but: str | None = None) -> None:
        released = [name for name, owner in self._owners.items() if owner is place and name != but]
        for name in released:
            del self._owners[name]
        if released:  # it may have been what was wrong with another
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
        with suppress(StoreError):  # what is wrong with the project is to be told all the same
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
    """A deploy only warns of a file that does not parse; but here, it may be one that is just being written.

    So a file that is broken now and was not in the version that is served breaks the project.
    """
    known = {warning.file for warning in published.warnings}
    new = [str(warning) for warning in check_syntax(folder) if warning.file not in known]
    if new:
        raise ProjectError(f"{'; '.join(new)}.")
