"""Which project folders have changed, as the kernel tells it; what a deploy leaves out counts for nothing."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Self

from watchfiles import Change, awatch  # pyright: ignore[reportUnknownVariableType]  # trio is not installed

from projects.files import is_project_path

FileChange = tuple[Change, str]

_QUIET = 100
"""Milliseconds without a change after which a burst of changes is over."""
_LONGEST_BURST = 800
"""Milliseconds after which a burst is told although it goes on: a change is to be published within two seconds."""
_LOOK_EVERY = 1000
"""Milliseconds between two looks whether the watched folder is still the one that was there."""

# It tells each change to the root logger's handlers.
logging.getLogger("watchfiles").setLevel(logging.WARNING)


async def changes(parent: Path, report: Callable[[str], None]) -> AsyncGenerator[frozenset[str] | None]:
    """Names of what changed directly below `parent`, a burst of changes at a time; None if it may have been anything.

    When the first value is asked for, listening begins before the first wait: whatever changes after that is told.

    Args:
        parent: The folder of the project folders. It may disappear and come back.
        report: Takes one line for the user when changes cannot be noticed as they should.
    """
    polling = missed = False
    while True:
        try:
            async with aclosing(_bursts(parent, polling=polling)) as bursts:
                async for names in bursts:
                    if missed:
                        yield None
                    elif names:
                        yield names
                    missed = False
        except FileNotFoundError:
            await asyncio.sleep(_LOOK_EVERY / 1000)
        except (OSError, RuntimeError) as error:  # the latter is the library's own
            if polling:
                report(f"Changes below {parent} are not noticed any more: {error}. Start again to have them deployed.")
                return
            report(f"Changes below {parent} cannot be watched ({error}); looking for them again and again instead.")
            polling = True
        if not missed:
            missed = True
            yield None


async def _bursts(parent: Path, *, polling: bool) -> AsyncGenerator[frozenset[str]]:
    """The changes, for as long as `parent` is the same folder; an empty set when there were none for a while."""
    with _Held(parent) as held:
        async with aclosing(_awatch(held.root, polling=polling)) as bursts:
            async for burst in bursts:
                yield frozenset(Path(path).relative_to(held.root).parts[0] for _, path in burst)
                if not held.is_still_there():
                    return


class _Held:
    """A folder, held open so that no other one can get its inode number."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.root = folder.resolve()
        self._descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def is_still_there(self) -> bool:
        """Whether what is found under its name is still this folder. If nothing is, FileNotFoundError is raised."""
        return self._folder.resolve() == self.root and os.path.samestat(os.fstat(self._descriptor), self.root.stat())


def _awatch(root: Path, *, polling: bool) -> AsyncGenerator[set[FileChange]]:
    def counts(_change: Change, path: str) -> bool:
        return _counts(root, Path(path))

    return awatch(
        root,
        watch_filter=counts,
        debounce=_LONGEST_BURST,
        step=_QUIET,
        rust_timeout=_LOOK_EVERY,
        yield_on_timeout=True,
        # Else as the library decides: it honours WATCHFILES_FORCE_POLLING.
        force_polling=polling or None,
        ignore_permission_denied=True,
    )


def _counts(root: Path, path: Path) -> bool:
    if path == root:
        return False
    name, *rest = path.relative_to(root).parts
    if name.startswith("."):
        return False
    return not rest or is_project_path(root / name, path) or _is_package(rest)


def _is_package(parts: list[str]) -> bool:
    """What is installed in a project's own environment is no part of its folder, but of its version."""
    return parts[0] == ".venv" and parts[-1].endswith(".dist-info")
