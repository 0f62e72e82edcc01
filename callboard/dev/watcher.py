"""Watching project folders for changes, as the kernel reports them. Files that a deploy does not read are ignored."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Self

from watchfiles import Change, awatch  # pyright: ignore[reportUnknownVariableType]  # trio is not installed

from callboard.projects.bounded import run_bounded
from callboard.projects.files import find_unignored, has_gitignore, may_be_project_path
from callboard.projects.resource_files import is_auth_session_file
from callboard.schemas.errors import CallboardError

FileChange = tuple[Change, str]

_QUIET_MS = 100
"""Milliseconds without a change after which a burst of changes is over."""
_MAX_BURST_MS = 800
"""Milliseconds after which a burst is yielded although it goes on: a change is to be published soon."""
_POLL_MS = 1000
"""Milliseconds between two checks whether the watched folder is still the same folder."""

# At a lower level, the library logs each change.
logging.getLogger("watchfiles").setLevel(logging.WARNING)


async def watch_changes(parent: Path, report: Callable[[str], None]) -> AsyncGenerator[frozenset[str] | None]:
    """Yield the names of what changed directly below `parent`, one set for each burst of changes.

    Yield None if anything may have changed. When the first value is requested, listening begins before the first wait,
    so every change after that is yielded.

    Args:
        parent: The folder that holds the project folders. It may disappear and come back.
        report: Function that takes one line for the user when changes cannot be noticed as they should.
    """
    polling = missed = False
    while True:
        try:
            async with aclosing(_watch_bursts(parent, polling=polling)) as bursts:
                async for names in bursts:
                    if missed:
                        yield None
                    elif names:
                        yield names
                    missed = False
        except FileNotFoundError:
            await asyncio.sleep(_POLL_MS / 1000)
        except (OSError, RuntimeError) as error:  # The library raises RuntimeError.
            if polling:
                report(f"Changes below {parent} are no longer noticed: {error}. Restart to deploy them.")
                return
            report(f"Changes below {parent} cannot be watched ({error}); polling for them instead.")
            polling = True
        if not missed:
            missed = True
            yield None


async def _watch_bursts(parent: Path, *, polling: bool) -> AsyncGenerator[frozenset[str]]:
    """Yield changes as long as `parent` is the same folder; yield an empty set if there were none for a while."""
    with _HeldFolder(parent) as held:
        async with aclosing(_awatch(held.root, polling=polling)) as bursts:
            async for burst in bursts:
                yield await _changed(held.root, [Path(path) for _, path in burst])
                if not held.is_unchanged():
                    return


class _HeldFolder:
    """A folder, held open so that no other one can get its inode number."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.root = folder.resolve()
        self._descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def is_unchanged(self) -> bool:
        """Tell whether the folder's name still leads to this folder.

        Raises:
            FileNotFoundError: There is nothing of that name.
        """
        return self._folder.resolve() == self.root and os.path.samestat(os.fstat(self._descriptor), self.root.stat())


def _awatch(root: Path, *, polling: bool) -> AsyncGenerator[set[FileChange]]:
    def counts(_change: Change, path: str) -> bool:
        return _is_relevant(root, Path(path))

    return awatch(
        root,
        watch_filter=counts,
        debounce=_MAX_BURST_MS,
        step=_QUIET_MS,
        rust_timeout=_POLL_MS,
        yield_on_timeout=True,
        # With None, the library decides: it honours WATCHFILES_FORCE_POLLING.
        force_polling=polling or None,
        ignore_permission_denied=True,
    )


def _is_relevant(root: Path, path: Path) -> bool:
    if path == root:
        return False
    name, *rest = path.relative_to(root).parts
    if name.startswith("."):
        return False
    return (
        not rest
        or may_be_project_path(root / name, path)
        or _is_installed_package(rest)
        or is_auth_session_file(Path(*rest))
    )


async def _changed(root: Path, paths: list[Path]) -> frozenset[str]:
    """Return the names that changed directly below `root`, but for files that a `.gitignore` leaves out."""
    changed: set[str] = set()
    asked: dict[str, list[Path]] = {}
    for path in paths:
        name, *rest = path.relative_to(root).parts
        if rest and may_be_project_path(root / name, path) and has_gitignore(root / name, path):
            asked.setdefault(name, []).append(path)
        else:
            changed.add(name)
    for name in asked.keys() - changed:
        folder = root / name
        try:
            if await run_bounded(find_unignored, folder, asked[name], read=[folder]):
                changed.add(name)
        except CallboardError:  # Its deploy says what is wrong.
            changed.add(name)
    return frozenset(changed)


def _is_installed_package(parts: list[str]) -> bool:
    """Tell whether a package in the project's own `.venv` changed.

    Installed packages are no files of the project, but they are part of its version.
    """
    return parts[0] == ".venv" and parts[-1].endswith(".dist-info")
