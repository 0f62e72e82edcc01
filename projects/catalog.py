"""Which projects are deployed, in which version, and what each version is: answered from memory where it can be."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta

from projects.manifest import Manifest, is_version
from projects.settings import is_project_name
from projects.single_flight import SharedCalls
from projects.version_reader import read_current, read_manifest
from schemas.errors import StoreError
from storage import keys
from storage.store import Store

_REMEMBERED = 1024
"""Answers kept of each kind. Names come from requests, so memory must not grow with them."""


@dataclass(frozen=True, slots=True)
class _Answer:
    manifest: Manifest | None
    asked: float
    """When the read began, on the event loop's clock: the answer may be as old as that."""


class Catalog:
    """The deployed projects of a store. Belongs to one event loop.

    Args:
        store: the artifact store.
        max_age: how old an answer of `current` may be. A deploy is seen at most this much later.
    """

    def __init__(self, store: Store, max_age: timedelta = timedelta(seconds=2)) -> None:
        self._store = store
        self._max_age = max_age.total_seconds()
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._manifests: OrderedDict[tuple[str, str], Manifest] = OrderedDict()
        self._reads: SharedCalls[str, Manifest | None] = SharedCalls()

    async def projects(self) -> list[str]:
        """Names of the deployed projects, sorted; always read from the store."""
        names = [
            key.split("/")[1]
            async for key in self._store.list(keys.PROJECTS)
            if key.count("/") == 2 and key.endswith("/current.json")
        ]
        return sorted(name for name in names if is_project_name(name))

    async def current(self, project: str) -> Manifest | None:
        """The deployed version of `project`, or None if there is no such project.

        Raises:
            StoreError: the store failed, or the version that is deployed is not in it.
        """
        if not is_project_name(project):
            return None
        answer = self._answers.get(project)
        if answer is not None and asyncio.get_running_loop().time() - answer.asked < self._max_age:
            return answer.manifest
        return await self._reads.run(project, lambda: self._read_current(project))

    async def manifest(self, project: str, version: str) -> Manifest | None:
        """One version of `project`, or None if there is no such version. Read once: versions do not change."""
        if not (is_project_name(project) and is_version(version)):
            return None
        manifest = self._manifests.get((project, version))
        if manifest is None:
            manifest = await read_manifest(self._store, project, version)
            if manifest is None:
                return None  # Not remembered: it may be deployed at any time.
        _remember(self._manifests, (project, version), manifest)
        return manifest

    async def _read_current(self, project: str) -> Manifest | None:
        asked = asyncio.get_running_loop().time()
        current = await read_current(self._store, project)
        manifest = None
        if current is not None:
            manifest = await self.manifest(project, current.version)
            if manifest is None:
                raise StoreError(
                    f"Version {current.version} of project {project!r} is deployed, but its manifest is not in the "
                    "artifact store. Deploy the project again."
                )
        _remember(self._answers, project, _Answer(manifest, asked))
        return manifest


def _remember[K, V](memory: OrderedDict[K, V], key: K, value: V) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)
