"""The versions that are unpacked on this host, one folder each: `{root}/{project}/{version}`.

A version folder appears whole, by one rename, and is never changed after that. A version is unpacked in a folder beside
it, which has another name and is locked by its owner. The lock is released when the owner's process ends, and the next
owner removes folders that are not locked. So several workers can share a root, and none has to clean up after its own
death.
"""

from __future__ import annotations

import asyncio
import errno
import shutil
import uuid
from pathlib import Path

from projects.bundle import extract_and_compile
from projects.manifest import is_version
from projects.processes import run_in_thread
from projects.settings import is_project_name
from projects.single_flight import SingleFlight
from schemas.errors import StoreError
from storage import keys
from storage.file_lock import FileLock, create_and_try_lock, remove_if_abandoned
from storage.store import Store

_PARTIAL = ".partial-"


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
        partial = _Partial(folder.parent)
        try:
            await run_in_thread(partial.begin)
            if not await self._store.get_file(keys.bundle(project, version), partial.bundle):
                raise StoreError(
                    f"The bundle of version {version} of project {project!r} is not in the artifact store. "
                    "Deploy the project again."
                )
            try:
                await run_in_thread(partial.finish, folder)
            except StoreError as error:
                raise StoreError(
                    f"Version {version} of project {project!r}: {error.message} If its bundle is damaged, remove "
                    f"{keys.bundle(project, version)} from the artifact store and deploy the project again."
                ) from error
        finally:
            await run_in_thread(partial.end)


class _Partial:
    """A folder in which one version is being unpacked, locked as long as its owner lives. All methods block."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._folder = parent / f"{_PARTIAL}{uuid.uuid4().hex}"
        self._lock: FileLock | None = None

    @property
    def bundle(self) -> Path:
        """Path at which to write the bundle."""
        return self._folder / "bundle.tar.gz"

    def begin(self) -> None:
        """Create and lock the folder, and remove folders whose owners are dead."""
        try:
            for other in self._parent.glob(f"{_PARTIAL}*"):
                remove_if_abandoned(other)
            while self._lock is None:
                self._lock = create_and_try_lock(self._folder)
        except OSError as error:
            raise StoreError(f"The folder {self._parent} for versions cannot be written: {error}.") from error

    def finish(self, target: Path) -> None:
        """Unpack the bundle and give it its final name, unless another process was faster."""
        files = self._folder / "files"
        extract_and_compile(self.bundle, files)
        try:
            files.rename(target)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise StoreError(f"the folder {target} cannot be made: {error}.") from error

    def end(self) -> None:
        """Remove the folder and unlock it."""
        # This may fail if a cancelled download is still writing; the next owner removes what is left and not locked.
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.release()
            self._lock = None
