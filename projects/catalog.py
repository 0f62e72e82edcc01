"""The catalog of deployed projects and of their versions, answered from memory where possible."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta

from projects.manifest import Manifest, is_version
from projects.settings import is_project_name
from projects.single_flight import SingleFlight
from projects.version_reader import read_current, read_manifest
from schemas.errors import StoreError
from storage import keys
from storage.store import Store

_CACHE_SIZE = 1024
"""Answers of each kind that are kept in memory. Names come from requests, so memory use must be bounded."""


@dataclass(frozen=True, slots=True)
class _CachedManifest:
    manifest: Manifest | None
    read_at: float
    """When the read began, on the event loop's clock. The answer may be as old as that."""


class Catalog:
    """The deployed projects of a store. An instance belongs to one event loop.

    Args:
        store: The artifact store.
        max_age: How old an answer of `get_current` may be. A deploy is seen at most this much later.
    """

    def __init__(self, store: Store, max_age: timedelta = timedelta(seconds=2)) -> None:
        self._store = store
        self._max_age = max_age.total_seconds()
        self._answers: OrderedDict[str, _CachedManifest] = OrderedDict()
        self._manifests: OrderedDict[tuple[str, str], Manifest] = OrderedDict()
        self._reads: SingleFlight[str, Manifest | None] = SingleFlight()

    async def list_projects(self) -> list[str]:
        """Return the sorted names of the deployed projects, which are always read from the store."""
        names = [
            key.split("/")[1]
            async for key in self._store.list(keys.PROJECTS)
            if key.count("/") == 2 and key.endswith("/current.json")
        ]
        return sorted(name for name in names if is_project_name(name))

    async def get_current(self, project: str) -> Manifest | None:
        """Return the manifest of the deployed version of `project`, or None if there is no such project.

        Raises:
            StoreError: The store failed, or the deployed version is not in it.
        """
        if not is_project_name(project):
            return None
        answer = self._answers.get(project)
        if answer is not None and asyncio.get_running_loop().time() - answer.read_at < self._max_age:
            return answer.manifest
        return await self._reads.run(project, lambda: self._read_current(project))

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

    async def _read_current(self, project: str) -> Manifest | None:
        asked = asyncio.get_running_loop().time()
        current = await read_current(self._store, project)
        manifest = None
        if current is not None:
            manifest = await self.get_manifest(project, current.version)
            if manifest is None:
                raise StoreError(
                    f"Version {current.version} of project {project!r} is deployed, but its manifest is not in the "
                    "artifact store. Deploy the project again."
                )
        _put_in_cache(self._answers, project, _CachedManifest(manifest, asked))
        return manifest


def _put_in_cache[K, V](memory: OrderedDict[K, V], key: K, value: V) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > _CACHE_SIZE:
        memory.popitem(last=False)
