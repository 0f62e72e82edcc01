"""Tries to connect to sockets on this host that are not its own: by path, by abstract name, by port."""

import os
import socket

from ways import Through


def connect(family, address, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as end:
        end.settimeout(3)
        end.connect(address)
        return "connected"


def forward(path):
    """Reach a socket by a path of another process or descriptor."""
    return connect(socket.AF_UNIX, path)


def short(path):
    """Connect to a socket whose path may be too long, by its folder."""
    folder = os.open(os.path.dirname(path), os.O_PATH)
    try:
        return connect(socket.AF_UNIX, f"/proc/self/fd/{folder}/{os.path.basename(path)}")
    finally:
        os.close(folder)


def datagram(address, port):
    """Send a datagram; the test looks whether it has arrived."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.sendto(b"from user code", (address, port))


async def automation(page, params):
    through = Through()
    for path in params.get("paths", ()):
        through.attempt(f"path {path}", forward, path)
        through.attempt(f"path {path} by its folder", short, path)
        through.attempt(f"path {path} by another root", forward, f"/proc/1/root{path}")
        through.attempt(f"path {path}, packets", connect, socket.AF_UNIX, path, socket.SOCK_SEQPACKET)
    for name in params.get("abstract", ()):
        for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
            through.attempt(f"abstract {name} {kind.name}", connect, socket.AF_UNIX, "\0" + name, kind)
    for address, port in params.get("ports", ()):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        through.attempt(f"{address} port {port}", connect, family, (address, port))
    for address, port in params.get("datagrams", ()):
        through.attempt(f"datagram to {address} port {port}", datagram, address, port)
    return through
