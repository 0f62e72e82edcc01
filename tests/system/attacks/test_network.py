"""A page, and the browser at the command of user code, go nowhere where a Machine may not go at the level `full`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.system.attacks.installation import Installation, addresses_of_this_host, ports_of

pytestmark = pytest.mark.kinds("plain-full", "root-full")

REFUSED = ("ERR_", "NS_ERROR", "ECONNREFUSED", "EACCES", "EHOSTUNREACH", "ENETUNREACH")
REACHED = ("ERR_INVALID_HTTP_RESPONSE", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET", "ERR_CONNECTION_CLOSED")
"""Errors of the browser that tell that it has reached something."""
LINK_LOCAL = "169.254.77.77"
"""An address beside that of a cloud's metadata service, at which there is nothing. The service itself is left
alone, since the attack would reach it where a wall is missing."""


WAYS = (
    *(
        "fetch",
        "image",
        "script",
        "style",
        "preload",
        "prefetch",
        "frame",
        "object",
        "video",
        "refresh",
        "form",
        "redirect",
    ),
    *("redirected-frame", "events", "beacon", "ping", "worker", "shared-worker", "service-worker", "navigation"),
    *("redirected-navigation", "pop-up", "request", "other-context", "default-context", "protocol"),
)
"""The ways of the attack that lead to an open service of the host. Chromium itself closes others, such as WebSocket."""


@dataclass
class Listener:
    """A service of this host, without authentication, on all of its addresses: TCP and UDP."""

    port: int = 0
    connections: int = 0
    asked: list[str] = field(default_factory=list[str])
    """The paths of all requests."""
    datagrams: list[bytes] = field(default_factory=list[bytes])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode(errors="replace")
            self.asked.append(head.split(" ")[1])
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\nsecret")
            await writer.drain()
        writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002  # the name is asyncio's
        self._listener.datagrams.append(data)


@pytest.fixture
async def service() -> AsyncIterator[Listener]:
    listener = Listener()
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as end:
        listener.port = end.getsockname()[1]
        async with await asyncio.start_server(listener.serve, sock=end):
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(listener), local_addr=("0.0.0.0", listener.port)
            )
            yield listener
            transport.close()


def spellings(port: int) -> list[str]:
    """This host's loopback and own addresses, by every name that leads there."""
    names = ["127.0.0.1", "127.1.2.3", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "localhost", "x.localhost"]
    names += ["2130706433", "0x7f.1", "0177.0.0.1", socket.gethostname()]
    names += [f"[{address}]" if ":" in address else address for address in addresses_of_this_host()]
    return [f"http://{name}:{port}" for name in dict.fromkeys(names)]


async def test_a_page_reaches_no_service_of_the_host(installation: Installation, service: Listener) -> None:
    targets = [f"http://127.0.0.1:{service.port}", f"http://localhost:{service.port}"]
    datagrams = [
        f"{address}:{service.port}" for address in ("127.0.0.1", *addresses_of_this_host()) if ":" not in address
    ]
    told = await installation.attack("visits", {"targets": targets, "datagrams": datagrams})
    tried = {"navigation", "redirected navigation", "pop-up", "page", "request", "other context", "protocol"}
    assert [way for way in tried if "has been closed" in str(told[targets[0]][way])] == [], "the browser has ended"
    assert service.asked == [], told
    assert service.connections == 0, told
    assert service.datagrams == []


async def test_no_spelling_of_an_address_leads_there(installation: Installation, service: Listener) -> None:
    told = await installation.attack("opens", {"urls": [f"{origin}/x" for origin in spellings(service.port)]})
    assert service.connections == 0, told


async def test_the_same_attack_reaches_a_service_that_is_open(installation: Installation, service: Listener) -> None:
    """Else the tests above would show nothing. The parts that its settings name stay closed."""
    await installation.deploy("opened")
    await installation.serve("open-worker", "opened", CALLBOARD_BROWSER_ALLOW="127.0.0.0/8,::1")
    try:
        target = f"http://127.0.0.1:{service.port}"
        told = await installation.attack("visits", {"targets": [target]}, project="opened")
        assert {f"/{way}" for way in WAYS} <= set(service.asked), told
        names = ("127.0.0.1", "localhost", "[::1]")
        parts = [f"http://{name}:{port}/" for name in names for port in installation.known_ports]
        assert reached(await installation.attack("opens", {"urls": parts}, project="opened")) == {}
    finally:
        await installation.stop("open-worker")


async def test_link_local_addresses_are_refused_and_not_only_silent(installation: Installation) -> None:
    """There, clouds serve credentials to whoever asks. What is not refused times out, or the network is asked."""
    told = await installation.attack("opens", {"urls": [f"http://{LINK_LOCAL}/"]})
    assert reached(told) == {}
    assert {url: error for url, error in told.items() if "imeout" in error or "TIMED_OUT" in error} == {}


def reached(told: dict[str, str]) -> dict[str, str]:
    """The addresses that were reached, with what came from there."""
    return {
        url: got
        for url, got in told.items()
        if not any(word in got for word in REFUSED) or any(word in got for word in REACHED)
    }


async def test_the_parts_of_the_installation_are_closed(installation: Installation) -> None:
    ports = ports_of(installation)
    assert {"api", "temporal"} <= set(ports.values())
    told: dict[str, Any] = await installation.attack(
        "opens", {"urls": [f"http://{name}:{port}/" for name in ("127.0.0.1", "localhost") for port in ports]}
    )
    assert reached(told) == {}
