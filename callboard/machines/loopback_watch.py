"""Look at what listens at loopback of this host, once for all Machines of a worker (see `loopback_rules`)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from callboard.machines.uncancellable import uncancellable

log = logging.getLogger(__name__)

_LOOK_EVERY = 0.5
"""Seconds between two looks, as the kernel has no event for it. pasta itself looks once a second."""
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

Ports = Mapping[int, frozenset[int]]
"""TCP ports, by version of IP."""


class LoopbackWatch:
    """A task that looks again and again, from when this is made until `close`, and keeps the file of the ports."""

    def __init__(self, file: Path) -> None:
        self.changed = os.eventfd(1, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        """Descriptor of the event that the file has changed; see `loopback_rules.keep`. Whoever begins to wait for it
        is woken at once, so that no change is missed."""
        self._looking = asyncio.create_task(self._look_repeatedly(file), name="loopback of this host")

    async def close(self) -> None:
        """Look no more. No Machine may be left."""
        self._looking.cancel()
        await uncancellable(asyncio.wait({self._looking}))
        os.close(self.changed)

    async def _look_repeatedly(self, file: Path) -> None:
        seen: Ports | None = {}
        while True:
            before, seen = seen, write_unserved_ports(file, seen)
            if seen not in (before, None):
                os.eventfd_write(self.changed, 1)
            await asyncio.sleep(_LOOK_EVERY)


def write_unserved_ports(file: Path, before: Ports | None = None) -> Ports | None:
    """Look now, and write to a file which ports a network is to refuse, if they are not those of `before`.

    These are the ports that pasta accepts connections to, but that nothing listens at with that version of IP. If that
    cannot be known or written, this returns None, and there is no file, so that no network is made.
    """
    try:
        if (ports := _unserved_ports()) != before:
            written = file.with_suffix(".part")
            written.write_text(json.dumps({version: sorted(those) for version, those in ports.items()}))
            written.replace(file)
    except OSError as error:
        if before is not None:
            log.warning("No Machine can be started as long as it is not known what listens at loopback: %s", error)
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
        return None
    return ports


def _unserved_ports() -> Ports:
    """Raises OSError if the kernel does not tell."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as kernel:
        listening = [*_listening(kernel, socket.AF_INET), *_listening(kernel, socket.AF_INET6)]
    every = frozenset(port for _, port in listening)
    served = {version: {*map(_packed, addresses)} for version, addresses in _SERVED_BY.items()}
    return {
        version: every - {port for address, port in listening if address in those} for version, those in served.items()
    }


def _listening(kernel: socket.socket, family: socket.AddressFamily) -> Iterator[tuple[bytes, int]]:
    """Yield the address and the port of each TCP socket of this family that listens. Raises OSError."""
    question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, _LISTENS)
    header = _HEADER.pack(_HEADER.size + len(question), _SOCK_DIAG_BY_FAMILY, _REQUEST | _DUMP, 0, 0)
    kernel.send(header + question)
    length = 4 if family == socket.AF_INET else 16
    while True:
        reply, at = kernel.recv(_BUFFER), 0
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
