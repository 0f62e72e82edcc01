"""What the host of a worker has for Machines, and what it starts them with: browser, walls, room, and a network."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from callboard.machines import cgroups
from callboard.machines.browser_program import browser_args, find_browser
from callboard.machines.capacity import Capacity, host_capacity
from callboard.machines.isolation import Isolation, Level, find_isolation
from callboard.machines.lease import Lease
from callboard.machines.machine_start import LaunchOptions, RecycleCause
from callboard.machines.network import Network, find_reach
from callboard.machines.pool import MachinePools
from callboard.machines.sandbox import sandbox_refusal
from callboard.machines.slot import RecycleLimits
from callboard.schemas.errors import Unavailable
from callboard.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Host:
    """A host that has what Machines need."""

    browser: Path
    isolation: Isolation
    groups: Path | None
    """Folder of the control group that is delegated to this worker; None if none is."""
    capacity: int
    """How many Machines there is room for at once."""

    @classmethod
    async def find(cls, settings: Settings) -> Host:
        """Find out what this host has, and log what it lacks.

        Raises:
            MachineError: There is no browser that starts.
            ConfigurationError: A wall that the settings want cannot stand here.
            Unavailable: A control group is delegated to this worker, and the kernel refuses to divide it.
        """
        browser = await asyncio.to_thread(find_browser, settings.chromium)
        isolation = await asyncio.to_thread(find_isolation, settings.isolation)
        is_full = isolation.level is Level.FULL
        log.log(logging.INFO if is_full else logging.WARNING, "The level of isolation is %s.", isolation)
        if settings.browser_deny and not is_full:
            log.warning("CALLBOARD_BROWSER_DENY closes nothing at the isolation level %s.", isolation)
        boxed = isolation.level is not Level.NONE
        if refusal := await asyncio.to_thread(sandbox_refusal, browser, boxed=boxed):
            log.warning("Chromium's own sandbox is off: %s. The worker's browsers run without it.", refusal)
        groups = await asyncio.to_thread(_delegated_group)
        capacity = settings.capacity or host_capacity()
        log.info("there is room for %d Machine(s) at once", capacity)
        return cls(browser, isolation, groups, capacity)

    async def make_pools(
        self,
        settings: Settings,
        folder: Path,
        scratch: Path,
        lease: Lease,
        *,
        temporal_address: str,
        other_parts: Sequence[str],
        on_started: Callable[[str], None],
        on_recycled: Callable[[str, RecycleCause], None],
    ) -> MachinePools:
        """Return the pools of a worker, which have no Machine yet. Whoever asks for them closes them.

        Args:
            settings: The settings of the worker.
            folder: The folder of the worker.
            scratch: A folder in it, in which each Machine gets a folder of its own.
            lease: Until when the worker may have Machines.
            temporal_address: Host and port of Temporal, which Machines must not reach. It is looked up now, so it has
                to be up.
            other_parts: Addresses (URLs) of further parts that they must not reach, and that no setting names.
            on_started: Is called when a Machine is up, with its project.
            on_recycled: Is called when a Machine is about to be gone, with its project and why.

        Raises:
            ConfigurationError: A setting says wrongly where Machines may connect.
        """
        network = None
        if self.isolation.level is Level.FULL:
            reach = await find_reach(settings, temporal_address=temporal_address, other_parts=other_parts)
            network = Network.of(reach, folder).watching()
        launch = LaunchOptions(
            scratch,
            self.browser,
            tuple(browser_args()),
            shared=tuple(settings.shared_folders),
            disk_limit=settings.machine_disk,
            groups=self.groups,
            find_full_browser=partial(find_browser, settings.chromium, headful=True),
            isolation=self.isolation.level,
            network=network,
            lease=lease,
            capacity=Capacity(self.capacity),
            on_started=on_started,
            on_recycled=on_recycled,
        )
        return MachinePools(launch, RecycleLimits(settings.machine_idle))


def _delegated_group() -> Path | None:
    """Return the control group for those of Machines, if one is delegated to this worker. This blocks.

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
