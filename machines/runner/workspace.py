"""The folder of one Attempt: a copy of the project to read and to write in, temporary files, a home. Gone after it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from .loading import forget_modules


class Workspace:
    """One Attempt's place on disk, and the process state (folder, environment, import path) that points to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.root = folder / "project"
        self._before: tuple[str, dict[str, str], list[str], int] | None = None

    @classmethod
    def prepare(cls, project: Path, folder: Path) -> Workspace:
        """Copy the project. Compiled files come along, so that nothing is compiled again."""
        workspace = cls(folder)
        shutil.copytree(project, workspace.root, symlinks=True)
        for name in ("tmp", "home"):
            (folder / name).mkdir()
        return workspace

    def enter(self) -> None:
        """Make it the working folder, `TMPDIR`, `HOME` and first on the import path."""
        self._before = (str(Path.cwd()), dict(os.environ), list(sys.path), _umask())
        os.chdir(self.root)
        os.environ["TMPDIR"] = str(self._folder / "tmp")
        os.environ["HOME"] = str(self._folder / "home")
        tempfile.tempdir = None
        sys.path.insert(0, str(self.root))

    def leave(self) -> None:
        """Undo `enter`, whatever user code did to the same state, and forget the project's modules."""
        if self._before is None:
            return
        folder, environment, path, umask = self._before
        os.umask(umask)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        tempfile.tempdir = None
        sys.path[:] = path
        forget_modules(self.root)

    def remove(self) -> None:
        """Delete the folder. What cannot be deleted goes with the Machine's scratch folder."""
        shutil.rmtree(self._folder, ignore_errors=True)


def empty(folder: Path) -> None:
    """Delete what is in the folder, if there is one."""
    for name in os.listdir(folder) if folder.is_dir() else ():  # noqa: PTH208  # names are all that is needed
        shutil.rmtree(folder / name, ignore_errors=True)
        with contextlib.suppress(OSError):
            (folder / name).unlink()


def _umask() -> int:
    """The mask of permissions; it can only be read by setting it."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
