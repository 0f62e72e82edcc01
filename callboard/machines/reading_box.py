"""The box in which files that others have written are read, packed and compiled: without a network.

Nothing of these files is executed. But what reads them (parsers, compilers, archives) may have holes, so it sees what
it reads and our own modules, and no more of this host.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from callboard import machines, schemas, security
from callboard.machines.box import Box, box_refusal, our_folders
from callboard.machines.package_box import kept
from callboard.machines.trial import trial_refusal

log = logging.getLogger(__name__)

_OURS = tuple(Path(package.__path__[0]) for package in (machines, schemas, security))
"""Where the packages of these rooms are, which need not be installed in one folder."""


def reading_command(
    command: Sequence[str], *, modules: Sequence[Path], read: Iterable[Path], write: Iterable[Path]
) -> list[str]:
    """Return the command that executes `command` in its box, or without one where none can be made. This blocks.

    It ends, with all that it has started, when its standard input does.

    Args:
        command: Our interpreter, by its full path, and its arguments.
        modules: Folders of our packages that it imports, besides those of this room and those below.
        read: Folders and files that it reads. Those that do not exist are left out.
        write: Folders that it writes. All of these must exist.
    """
    there = (path for path in read if path.exists())
    box = Box(read=(*our_folders(), *_OURS, *modules, *there), write=tuple(write), network=False)
    if _refusal() is not None:
        return kept(command)
    return kept([*box.command(final=True, user_code=True), *command])


@lru_cache
def _refusal() -> str | None:
    """Say why this host allows no such box; None if it does. This is tried once per process."""
    tried = Box(read=our_folders(), write=(), network=False)
    why = box_refusal() or trial_refusal([*tried.bubblewrap(), sys.executable, "-I", "-S", "-c", ""], {})
    if why is not None:
        log.info("Files of projects are read in a process without a box: %s.", why)
    return why
