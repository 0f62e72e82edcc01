"""The box in which code of projects is executed outside of Machines: to handle packages, and to read annotations.

To install a package may execute its build system, and `git`. So uv and npm run behind the walls of user code. They have
the network of user code, in which the hosts of the operator's index are open, too.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from callboard.machines import program_keeper, proxied
from callboard.machines.box import Box, our_folders, python_folders
from callboard.machines.isolation import Isolation, Level, find_isolation
from callboard.machines.network import Network, find_reach
from callboard.settings import Settings

log = logging.getLogger(__name__)


class PackageBox:
    """Starts programs that execute code of projects, with the walls that stand on this host."""

    def __init__(self, settings: Settings, *, temporal_address: str, other_parts: Sequence[str] = ()) -> None:
        """Set up without trying anything yet.

        `other_parts` are addresses (URLs) of parts of the installation that no setting names.
        """
        self._settings = settings
        self._temporal_address = temporal_address
        self._other_parts = other_parts
        self._isolation: Isolation | None = None

    async def command(
        self,
        command: Sequence[str],
        *,
        read: Iterable[Path],
        write: Iterable[Path],
        interpreters: Iterable[Path],
        scratch: Path,
        memory_limit: int,
        instead: Mapping[Path, Path] = MappingProxyType({}),
        index: Iterable[tuple[str, int]] = (),
        proxy: Path | None = None,
        proxy_reads: Sequence[Path] = (),
        connects: bool = True,
    ) -> list[str]:
        """Return the command that executes `command` in its box. It ends, with all below it, when its stdin does.

        Args:
            command: The program, by its full path, and its arguments.
            read: Folders and files that it reads. Those that do not exist are left out.
            write: Folders that it writes, which must exist.
            interpreters: Pythons that it may start.
            scratch: A folder for files of the box itself, which must live as long as the command.
            memory_limit: Most bytes of memory of the program and all that it starts.
            instead: Files that are in the box in place of others of this host, by the paths of those.
            index: Hosts and ports of the operator's indexes, which are open although they may be closed to user code.
            proxy: A script that is started before, in a box of its own with the same network; see
                `callboard.machines.proxied`.
            proxy_reads: Files and folders that the script reads. It writes to `scratch`.
            connects: Whether the program needs a network. Where there are all walls, it has none then.

        Raises:
            ConfigurationError: The settings want walls that cannot stand here, or are wrong.
        """
        level = (await self._find_isolation()).level
        scripted = [] if proxy is None else [sys.executable, "-I", str(proxy)]
        if level is Level.NONE:
            return kept(_proxied(scripted, command), memory_limit=memory_limit)
        network = None
        if level is Level.FULL and connects:
            reach = await find_reach(
                self._settings, temporal_address=self._temporal_address, other_parts=self._other_parts, index=index
            )
            network = await asyncio.to_thread(Network.of, reach, scratch)
        resolv_conf = None if network is None else network.resolv_conf
        box = Box(
            read=(*our_folders(), *python_folders(*interpreters), *(path for path in read if path.exists())),
            write=tuple(write),
            instead=instead,
            resolv_conf=resolv_conf,
            network=level is not Level.FULL or connects,
        )
        boxed = [*box.command(final=True, user_code=True), *command]
        if proxy is not None:
            reads = (*our_folders(), proxy, *(path for path in proxy_reads if path.exists()))
            scripted = [*Box(reads, (scratch,), resolv_conf=resolv_conf).command(final=True), *scripted]
            boxed = _proxied(scripted, boxed)
        if network is None:
            return kept(boxed, memory_limit=memory_limit)
        return network.command(kept(boxed, "networked", memory_limit))

    async def may_build(self) -> bool:
        """Tell whether packages may be built from their sources: as the operator says, else where there is a box.

        Raises:
            ConfigurationError: The settings want walls that cannot stand here.
        """
        if self._settings.build_packages is not None:
            return self._settings.build_packages
        return (await self._find_isolation()).level is not Level.NONE

    async def _find_isolation(self) -> Isolation:
        if self._isolation is None:
            self._isolation = await asyncio.to_thread(find_isolation, self._settings.isolation)
            if self._isolation.level is not Level.FULL:
                log.warning(
                    "Packages of projects are handled, and their annotations read, at the isolation level %s.",
                    self._isolation,
                )
        return self._isolation


def _proxied(proxy: Sequence[str], command: Sequence[str]) -> list[str]:
    """Return the command that starts `proxy`, if it is one, and then `command`."""
    return [sys.executable, "-I", "-S", proxied.__file__, json.dumps(proxy), *command] if proxy else [*command]


def kept(command: Sequence[str], kind: str = "plain", memory_limit: int = 0) -> list[str]:
    """Return the command that executes `command` and ends, with all that this has started, when its stdin does."""
    return [sys.executable, "-I", "-S", program_keeper.__file__, kind, str(memory_limit), *command]
