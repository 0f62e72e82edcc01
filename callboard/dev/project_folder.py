"""One project folder of `callboard dev`: the state of its deploys, and whether it is still there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from callboard.projects.manifest import Manifest

_Identity = tuple[int, int]
"""Device and inode of a folder, which no other folder has as long as that one is there."""


@dataclass(frozen=True)
class BrokenProject:
    """A project folder that cannot be deployed as it is now, and the reason."""

    folder: Path
    reason: str
    served_version: str | None = None
    """The version that was deployed before and is still served, if there is one."""


class ProjectFolder:
    """One project folder, and the state of its deploys."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name: str | None = None
        """Name of the project when its settings were last read."""
        self.published: Manifest | None = None
        self.broken: BrokenProject | None = None
        self.removed = False
        self._parent: _Identity | None = None
        """The folder that held it when it was published last."""
        self.has_outcome = asyncio.Event()
        """Event that is set once the first outcome for the folder is known."""
        self.changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def note_parent(self) -> None:
        """Remember the folder that holds this one now."""
        self._parent = _identity(self.path.parent)

    def was_removed_itself(self) -> bool:
        """Tell whether the folder is gone, and nothing above it is: where it was, there is still the same folder."""
        try:
            self.path.lstat()
        except FileNotFoundError:
            return self._parent is not None and self._parent == _identity(self.path.parent)
        except OSError:
            pass  # it cannot be seen now
        return False

    async def wait_for_change(self, seconds: float) -> bool:
        """Tell whether the folder has changed within this time, or before."""
        try:
            async with asyncio.timeout(seconds):
                return await self.changed.wait()
        except TimeoutError:
            return False


def _identity(folder: Path) -> _Identity | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
