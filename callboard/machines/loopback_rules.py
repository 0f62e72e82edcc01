"""Have a Machine's network refuse the loopback address at which nothing listens on this host.

`pasta` accepts connections to a port of this host at both loopback addresses, 127.0.0.1 and ::1, whichever of the two
a program listens at, and resets those that it cannot pass on. A client that is given the name `localhost` tries one
address after the other, but takes an accepted connection for an answer. So routing rules refuse the address at once
where only the other one is served, and they follow what listens on this host.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

_LOOK_EVERY = 0.5
"""Seconds between two looks at what listens. pasta itself looks once a second."""
_LOOPBACK = {4: "127.0.0.1", 6: "::1"}
_SERVED_BY = {4: ("0.0.0.0", "127.0.0.1", "::", "::ffff:127.0.0.1"), 6: ("::", "::1")}  # noqa: S104  # nothing is bound
"""Addresses that a program may listen at to be reached at the loopback address of that version of IP. Whether `::` is
reached by IPv4, too, the kernel does not tell; by default it is."""

# Linux's sock_diag(7), which lists sockets. `/proc/net/tcp` lists those that listen as well, but walks through the
# table of all connections first. That takes milliseconds on a host with much memory.
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST, _DUMP = 0x1, 0x300
_ERROR, _DONE = 2, 3
_LISTENS = 1 << 10
_HEADER = struct.Struct("=IHHII")
"""Of each message: its length, its type, flags, a number, and a port."""
_QUESTION = struct.Struct("=BBBxI48x")
"""The family and protocol of sockets, nothing more about them, their states, and no address."""
_SOCKET = struct.Struct("=4xH2x16s")
"""The beginning of a message about a socket: its port, in the order of the network, and its address."""
_BUFFER = 65536

Ports = dict[int, frozenset[int]]
"""TCP ports, by version of IP."""


class LoopbackRules:
    """The rules for one network namespace. It must be made outside, as it looks at what listens where it was made."""

    def __init__(self) -> None:
        self._kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG)
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
        os.closerange(3, self._kernel.fileno())
        os.closerange(self._kernel.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
        while True:
            time.sleep(_LOOK_EVERY)
            update()

    def _unserved(self, version: int) -> frozenset[int]:
        """Return the ports that pasta accepts connections to, but that nothing listens at with this version of IP."""
        served = {_packed(address) for address in _SERVED_BY[version]}
        listening = [*self._listening(socket.AF_INET), *self._listening(socket.AF_INET6)]
        return frozenset(port for _, port in listening) - {port for address, port in listening if address in served}

    def _listening(self, family: socket.AddressFamily) -> Iterator[tuple[bytes, int]]:
        """Yield the address and the port of each TCP socket of this family that listens.

        Raises:
            OSError: The kernel does not tell.
        """
        question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, _LISTENS)
        header = _HEADER.pack(_HEADER.size + len(question), _SOCK_DIAG_BY_FAMILY, _REQUEST | _DUMP, 0, 0)
        self._kernel.send(header + question)
        length = 4 if family == socket.AF_INET else 16
        while True:
            reply, at = self._kernel.recv(_BUFFER), 0
            while at < len(reply):
                size, kind, *_ = _HEADER.unpack_from(reply, at)
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    code = -struct.unpack_from("=i", reply, at + _HEADER.size)[0]
                    raise OSError(code, os.strerror(code))
                port, address = _SOCKET.unpack_from(reply, at + _HEADER.size)
                yield address[:length], socket.ntohs(port)
                at += size + -size % 4


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
