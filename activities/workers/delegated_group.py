"""Find the control group that is delegated to this worker, in which each Machine gets a group of its own."""

from __future__ import annotations

import logging
from pathlib import Path

from machines import cgroups
from schemas.errors import Unavailable

log = logging.getLogger(__name__)


def delegated_group() -> Path | None:
    """Return the folder of the control group, prepared for groups of Machines; None if none is delegated. This blocks.

    Raises:
        Unavailable: The kernel refuses to divide the group.
    """
    folder = cgroups.find_delegated()
    if folder is None:
        log.info("no control group is delegated to this worker: it measures what its Machines use")
        return None
    try:
        cgroups.prepare(folder)
    except OSError as error:
        raise Unavailable(
            f"The control group {folder} is delegated to this worker, but cannot be divided ({error.strerror}). "
            "Delegate the controllers memory and pids, and have no other processes in it; or delegate no group."
        ) from error
    log.info("control group %s holds Machines to their limits", folder)
    return folder
