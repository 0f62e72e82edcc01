"""The versions that are unpacked on this host, one folder each: `{root}/{project}/{version}`.

A version folder appears whole, by one rename, and is never changed after that. A version is unpacked in a folder beside
it (`callboard.projects.scratch`). So several workers can share a root, and none has to clean up after its own death.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from pathlib import Path

from callboard.projects.bounded import run_bounded
from callboard.projects.bundle import extract_and_compile
from callboard.projects.manifest import is_version
from callboard.projects.processes import run_in_thread
from callboard.projects.project_settings import is_project_name
from callboard.projects.scratch import scratch_folder
from callboard.schemas.errors import MachineError, ProjectError, StoreError
from callboard.storage import object_keys
from callboard.storage.single_flight import SingleFlight
from callboard.storage.store import Store

_log = logging.getLogger(__name__)


class VersionFolders:
    """The versions below `root`, which are fetched from a store when needed. An instance belongs to one event loop."""

    def __init__(self, store: Store, root: Path) -> None:
        self._store = store
        self._root = root
        self._fetches: SingleFlight[Path, None] = SingleFlight()

    async def ensure(self, project: str, version: str) -> Path:
        """Return the folder with the files of `version`, and fetch it if it does not exist. Nobody may write into it.

        Raises:
            StoreError: The bundle is not in the store, or is damaged, or cannot be unpacked here. This is a fault of
                the store and not of the caller: a Run's version was deployed when the Run was created.
            ValueError: `project` or `version` does not have the form of one.
        """
        if not (is_project_name(project) and is_version(version)):
            raise ValueError(f"There cannot be a version {version!r} of a project {project!r}.")
        folder = self._root / project / version
        if not await asyncio.to_thread(folder.is_dir):
            await self._fetches.run(folder, lambda: self._fetch(project, version, folder))
        return folder

    async def _fetch(self, project: str, version: str, folder: Path) -> None:
        try:
            async with scratch_folder(folder.parent) as partial:
                await self._fetch_into(partial, project, version, folder)
        except OSError as error:
            raise StoreError(f"The folder {folder.parent} for versions cannot be written: {error}.") from error

    async def _fetch_into(self, partial: Path, project: str, version: str, folder: Path) -> None:
        bundle = partial / "bundle.tar.gz"
        if not await self._store.get_file(object_keys.bundle(project, version), bundle):
            raise StoreError(
                f"The bundle of version {version} of project {project!r} is not in the artifact store. "
                "Deploy the project again."
            )
        files = partial / "files"
        try:
            if not await run_bounded(extract_and_compile, bundle, files, read=[bundle], write=[partial]):
                _log.warning("%s was not compiled in time; its first Attempts will be slower", folder)
            await run_in_thread(_put, files, folder)
        except (StoreError, ProjectError, MachineError) as error:
            raise StoreError(
                f"Version {version} of project {project!r}: {error.message} If its bundle is damaged, remove "
                f"{object_keys.bundle(project, version)} from the artifact store and deploy the project again."
            ) from error


def _put(files: Path, target: Path) -> None:
    """Give the unpacked bundle its final name, unless another process was faster."""
    try:
        files.rename(target)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise StoreError(f"the folder {target} cannot be made: {error}.") from error
