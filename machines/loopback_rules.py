"""Have a Machine's network refuse the loopback address at which nothing listens on this host.

`pasta` accepts connections to a port of this host at both loopback addresses, 127.0.0.1 and ::1, whichever of the two
a program listens at, and resets those that it cannot pass on. A client that is given the name `localhost` tries one
address after the other, but takes an accepted connection for an answer. So routing rules refuse the address at once
where only the other one is served, and they follow what listens on this host.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

_LOOK_EVERY = 0.5
"""Seconds between two looks at what listens. pasta itself looks once a second."""
_LISTENS = "0A"
"""A state of a TCP socket, as the kernel prints it."""
_LOOPBACK = {4: "127.0.0.1", 6: "::1"}
_SERVED_BY = {4: ("0.0.0.0", "127.0.0.1", "::", "::ffff:127.0.0.1"), 6: ("::", "::1")}  # noqa: S104  # nothing is bound
"""Addresses that a program may listen at to be reached at the loopback address of that version of IP. Whether `::` is
reached by IPv4, too, the kernel does not print; by default it is."""

Ports = dict[int, frozenset[int]]
"""TCP ports, by version of IP."""


class LoopbackRules:
    """The rules for one network namespace. It must be made outside, as it looks at what listens where it was made."""

    def __init__(self) -> None:
        self._files = [file.open() for name in ("tcp", "tcp6") if (file := Path("/proc/self/net", name)).exists()]
        self._refused: Ports = {version: frozenset() for version in _LOOPBACK}

    def ip_commands(self, place: int, version: int) -> Iterator[str]:
        """Yield the commands to `ip` that bring the rules up to date, with their place among all rules."""
        now = self._unserved(version)
        for change, ports in (("add", now - self._refused[version]), ("del", self._refused[version] - now)):
            for port in sorted(ports):
                yield f"rule {change} pref {place} to {_LOOPBACK[version]} ipproto tcp dport {port} unreachable"
        self._refused[version] = now

    def keep(self, update: Callable[[], None]) -> NoReturn:
        """Be a process that does nothing but to call `update` for as long as the Machine lives."""
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        kept = sorted(file.fileno() for file in self._files)
        for low, high in zip([2, *kept], [*kept, os.sysconf("SC_OPEN_MAX")], strict=True):
            os.closerange(low + 1, high)
        while True:
            time.sleep(_LOOK_EVERY)
            update()

    def _unserved(self, version: int) -> frozenset[int]:
        """Return the ports that pasta accepts connections to, but that nothing listens at with this version of IP."""
        served = {_printed(address) for address in _SERVED_BY[version]}
        listening = list(self._listening())
        return frozenset(port for _, port in listening) - {port for address, port in listening if address in served}

    def _listening(self) -> Iterator[tuple[str, int]]:
        """Yield the address, as the kernel prints it, and the port of each TCP socket that listens."""
        for file in self._files:
            file.seek(0)
            for line in itertools.islice(file, 1, None):
                words = line.split()
                if words[3] != _LISTENS:
                    break  # the kernel prints those that listen first, and there may be thousands of others
                address, _, port = words[1].partition(":")
                yield address, int(port, 16)


def _printed(address: str) -> str:
    """Return the address as it stands in `/proc/net/tcp`: its words of 32 bits as numbers of this processor."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words)
