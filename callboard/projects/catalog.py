"""The catalog of deployed projects and of their versions, answered from memory where possible.

Every deploy writes a small note (`object_keys.LAST_DEPLOY`) last. While that note stays the same, nothing else is read:
however many projects there are, to follow them costs one request now and then. When it has changed, a list of all
pointers to deployed versions tells by their tags which of them have to be read again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from callboard.projects.manifest import Manifest, is_version, read_current, read_manifest
from callboard.projects.project_settings import is_project_name
from callboard.schemas.errors import StoreError
from callboard.storage import object_keys
from callboard.storage.single_flight import SingleFlight
from callboard.storage.store import Store

_CACHE_SIZE = 10_000
"""Answers of each kind that are kept in memory. Names come from requests, so memory use must be bounded."""
_FOLDER_AGE = timedelta(seconds=0.5)
_BUCKET_AGE = timedelta(seconds=2)
"""How old the note may be that is believed. Each look at it in a bucket is a request that is paid for."""
_TRUSTED = timedelta(minutes=1)
"""How long an answer is believed while the note stays the same. A project can also change without a note: if a deploy
died just before it, or if somebody restores or removes objects by hand."""


@dataclass(frozen=True, slots=True)
class _Answer[T]:
    value: T
    note: bytes | None
    """The note of the latest deploy, as it was before this was read."""
    read_at: float
    """When the read began, on the event loop's clock. The answer may be as old as that."""
    tag: str | None = None
    """The tag that the pointer had in a list that was read before; None if there was no such list."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is deployed of a project."""

    manifest: Manifest
    deployed_at: datetime
    """Time of the deploy, by the clock of whoever deployed."""
    has_resources: bool = False
    """Whether there are, or were, Jobs or AuthSessions that are files of the project."""


def deploys_seen_within(*, is_bucket: bool) -> timedelta:
    """Return how much later than its deploy a version may be seen by an api or a worker, by where the store is."""
    return _BUCKET_AGE if is_bucket else _FOLDER_AGE


class Catalog:
    """The deployed projects of a store. An instance belongs to one event loop.

    Args:
        store: The artifact store.
        max_age: How old an answer of `list_projects` and `get_current` may be. A deploy is seen at most this much
            later.
    """

    def __init__(self, store: Store, max_age: timedelta = _BUCKET_AGE) -> None:
        self._store = store
        self.max_age = max_age
        self._note: _Answer[None] | None = None
        self._pointers: _Answer[dict[str, str | None]] | None = None
        """The deployed projects in the order of their names, with the tags of their pointers."""
        self._answers: OrderedDict[str, _Answer[Deployment | None]] = OrderedDict()
        self._manifests: OrderedDict[tuple[str, str], Manifest] = OrderedDict()
        self._note_reads: SingleFlight[None, bytes | None] = SingleFlight()
        self._list_reads: SingleFlight[bytes | None, dict[str, str | None]] = SingleFlight()
        self._reads: SingleFlight[tuple[str, bytes | None], Deployment | None] = SingleFlight()

    def forget(self) -> None:
        """Look at the note of the latest deploy anew at the next question, as somebody here has just written one."""
        self._note = None

    async def list_projects(self) -> list[str]:
        """Return the sorted names of the deployed projects. Raises StoreError if the store failed."""
        note = await self._last_deploy()
        if self._pointers is not None and _is_valid(self._pointers, note):
            return list(self._pointers.value)
        return list(await self._list_reads.run(note, lambda: self._read_pointers(note)))

    async def get_current(self, project: str) -> Manifest | None:
        """Return the manifest of the deployed version of `project`, or None if there is no such project.

        Raises:
            StoreError: The store failed, or the deployed version is not in it.
        """
        deployment = await self.get_deployment(project)
        return deployment and deployment.manifest

    async def get_deployment(self, project: str) -> Deployment | None:
        """Return what is deployed of `project`, or None if there is no such project.

        Raises:
            StoreError: The store failed, or the deployed version is not in it.
        """
        if not is_project_name(project):
            return None
        note = await self._last_deploy()
        answer = self._answers.get(project)
        if answer is not None and _is_valid(answer, note):
            return answer.value
        if answer is not None and (same := self._still_valid(project, answer, note)) is not None:
            _put_in_cache(self._answers, project, same)
            return same.value
        return await self._reads.run((project, note), lambda: self._read_current(project, note))

    async def list_current(self) -> list[Manifest]:
        """Return the manifests of all deployed versions, sorted by project. Raises StoreError."""
        projects = await self.list_projects()
        manifests = await asyncio.gather(*(self.get_current(project) for project in projects))
        return [manifest for manifest in manifests if manifest is not None]

    async def sizes(self) -> dict[str, int]:
        """Return how many Machines each deployed project may have. Raises StoreError."""
        return {manifest.project: manifest.settings.machines for manifest in await self.list_current()}

    async def get_manifest(self, project: str, version: str) -> Manifest | None:
        """Return the manifest of one version of `project`, or None if there is no such version.

        A manifest is read only once, because versions do not change.
        """
        if not (is_project_name(project) and is_version(version)):
            return None
        manifest = self._manifests.get((project, version))
        if manifest is None:
            manifest = await read_manifest(self._store, project, version)
            if manifest is None:
                return None  # This is not remembered, because the version may be deployed at any time.
        _put_in_cache(self._manifests, (project, version), manifest)
        return manifest

    async def _last_deploy(self) -> bytes | None:
        """Return the note of the latest deploy, or None if there was none. It may be as old as `max_age`."""
        oldest = asyncio.get_running_loop().time() - self.max_age.total_seconds()
        if self._note is not None and self._note.read_at > oldest:
            return self._note.note
        return await self._note_reads.run(None, self._read_note)

    async def _read_note(self) -> bytes | None:
        asked = asyncio.get_running_loop().time()
        note = await self._store.get(object_keys.LAST_DEPLOY)
        self._note = _Answer(None, note, asked)
        return note

    async def _read_pointers(self, note: bytes | None) -> dict[str, str | None]:
        asked = asyncio.get_running_loop().time()
        tags = {
            entry.key.split("/")[1]: entry.tag
            async for entry in self._store.entries(object_keys.PROJECTS)
            if entry.key.count("/") == 2 and entry.key.endswith("/current.json")
        }
        pointers = {name: tags[name] for name in sorted(tags) if is_project_name(name)}
        self._pointers = _Answer(pointers, note, asked)
        return pointers

    def _listed_tag(self, project: str, note: bytes | None) -> str | None:
        """Return the tag of the project's pointer in a list that can be believed; None if there is none."""
        if self._pointers is None or not _is_valid(self._pointers, note):
            return None
        return self._pointers.value.get(project)

    def _still_valid[T](self, project: str, answer: _Answer[T], note: bytes | None) -> _Answer[T] | None:
        """Return the answer as one of the latest list, if the pointer is still the one that was read; None otherwise.

        The answer was read after a list with the same tag, and before this one: so nothing else was there meanwhile.
        """
        tag = self._listed_tag(project, note)
        if self._pointers is None or tag is None or tag != answer.tag or self._pointers.read_at < answer.read_at:
            return None
        return _Answer(answer.value, note, self._pointers.read_at, tag)

    async def _read_current(self, project: str, note: bytes | None) -> Deployment | None:
        asked, tag = asyncio.get_running_loop().time(), self._listed_tag(project, note)
        current = await read_current(self._store, project)
        deployment = None
        if current is not None:
            manifest = await self.get_manifest(project, current.version)
            if manifest is None:
                raise StoreError(
                    f"Version {current.version} of project {project!r} is deployed, but its manifest is not in the "
                    "artifact store. Deploy the project again."
                )
            deployment = Deployment(manifest, current.deployed_at, current.has_resources)
        _put_in_cache(self._answers, project, _Answer(deployment, note, asked, tag))
        return deployment


def _is_valid(answer: _Answer[Any], note: bytes | None) -> bool:
    """Tell whether the answer can be believed, given the note of the latest deploy."""
    return answer.note == note and asyncio.get_running_loop().time() - answer.read_at < _TRUSTED.total_seconds()


def _put_in_cache[K, V](memory: OrderedDict[K, V], key: K, value: V) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > _CACHE_SIZE:
        memory.popitem(last=False)
