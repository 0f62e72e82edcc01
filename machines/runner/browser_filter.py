"""The filter between the browser and the network: a SOCKS5 server that connects to whatever a Machine may reach.

Where a Machine has no network of its own (level `partial`), the browser is told to send everything through it, loopback
included, and to look up no name itself. That also holds for what Playwright's driver requests on a page's behalf.

A context that has a proxy would connect to that itself, since Chromium knows no proxy behind a proxy. So it is told of
a forward instead: a port of ours that leads to its proxy, by the same rules. Forwards have the port of the filter, each
on a loopback address of its own (127.0.0.2, …): one port is all that the browser must be able to reach.

Every process of the host can connect here. None needs to be kept out: the filter leads nowhere that such a process
cannot go by itself, and gives nobody's credentials. Chromium could give none to a SOCKS server either.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address
from urllib.parse import urlsplit

from playwright.async_api import ProxySettings

from .dialing import Dialer, DialError, Stream, Target
from .reach import Reach
from .socks import ProtocolError, Reply, read_request, reply, reply_of
from .splicing import splice

_HOST = IPv4Address("127.0.0.1")
_BYPASS = "<-loopback>"
"""Chromium's word for: loopback addresses do not bypass the proxy."""
_REQUESTED_WITHIN = 30.0
"""Seconds that a client gets to say where it wants to be connected to."""
_MOST_CONNECTIONS = 512
"""Most connections at the same time, of all contexts of the browser together."""
_MOST_FORWARDS = 1000
"""Most proxies that the contexts of one Attempt may have."""
_ENDS_WITHIN = 1.0
_PORTS = {"http": 80, "https": 443, "socks5": 1080}
"""Schemes of proxies, with the port that is meant if none is named."""
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)

Serve = Callable[[Stream], Awaitable[None]]


class UnsupportedProxyError(Exception):
    """A context cannot be given such a proxy. The message is a sentence that says why."""


class BrowserFilter:
    """The filter of one Machine. `BrowserFilter.serving` makes one."""

    def __init__(self, reach: Reach, on_error: Callable[[DialError], None]) -> None:
        self._dialer = Dialer(reach)
        self._on_error = on_error
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._forwards: dict[tuple[str, Target], tuple[asyncio.Server, str]] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def serving(cls, reach: Reach, on_error: Callable[[DialError], None]) -> AsyncGenerator[BrowserFilter]:
        """Serve on a free port for as long as this lasts. `on_error` hears of each connection that is not made."""
        made = cls(reach, on_error)
        try:
            made._server = await made._listen(_HOST, 0, made._serve_request)
            made._port = made._server.sockets[0].getsockname()[1]
            made.close_port(made._port)
            yield made
        finally:
            await made._end()

    @property
    def proxy(self) -> ProxySettings:
        """The filter, as the browser's proxy."""
        return {"server": f"socks5://{_HOST}:{self._port}", "bypass": _BYPASS}

    @property
    def browser_args(self) -> list[str]:
        """Arguments for the browser, which must look up no name itself."""
        return ["--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.*"]

    def close_port(self, port: int) -> None:
        """Close a port of this host, also where loopback is open: something of this Machine itself listens there."""
        reach = self._dialer.reach
        self._dialer.reach = replace(reach, closed_ports=reach.closed_ports | {port})

    def close_port_of(self, url: str) -> None:
        """Close the port at which clients reach the browser; see `close_port`."""
        if (port := urlsplit(url).port) is not None:
            self.close_port(port)

    async def forward(self, proxy: ProxySettings) -> ProxySettings:
        """Return the proxy that a context is given instead of its own, to which that leads.

        Raises:
            UnsupportedProxyError: It has no such form, or there are too many.
        """
        scheme, target = _parsed(proxy)
        if (forward := self._forwards.get((scheme, target))) is None:
            if len(self._forwards) >= _MOST_FORWARDS:
                raise UnsupportedProxyError(f"An Attempt may have {_MOST_FORWARDS} proxies, and no further one.")
            host = _HOST + 1 + len(self._forwards)
            tls = await asyncio.to_thread(_trust) if scheme == "https" else None
            try:
                server = await self._listen(host, self._port, partial(self._serve_forward, target, tls))
            except OSError as error:
                raise UnsupportedProxyError(f"There is no port to lead to the proxy: {error.strerror}.") from error
            # The way from the browser to us needs no TLS, and a certificate of the proxy does not fit our address.
            forward = server, f"{'http' if tls else scheme}://{host}:{self._port}"
            self._forwards[scheme, target] = forward
        return {**proxy, "server": forward[1], "bypass": _BYPASS}

    def end_attempt(self) -> None:
        """End what is left of an Attempt whose contexts are closed. Nothing of it may be told to the next one."""
        for task in self._connections:
            task.cancel()
        for server, _ in self._forwards.values():
            server.close()
        self._forwards.clear()

    async def _listen(self, host: IPv4Address, port: int, serve: Serve) -> asyncio.Server:
        return await asyncio.start_server(partial(self._accept, serve), str(host), port)

    async def _accept(self, serve: Serve, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= _MOST_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections.add(task)
        try:
            await serve(Stream(reader, writer))
        except (OSError, asyncio.IncompleteReadError, ProtocolError):
            pass  # the client has gone, or has its answer
        except DialError as error:
            self._on_error(error)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve_request(self, client: Stream) -> None:
        async with asyncio.timeout(_REQUESTED_WITHIN):
            target = await read_request(client)
        try:
            server = await self._dialer.dial(target)
        except DialError as error:
            reply(client, reply_of(error))
            raise
        reply(client, Reply.SUCCEEDED)
        await _join(client, server)

    async def _serve_forward(self, target: Target, tls: ssl.SSLContext | None, client: Stream) -> None:
        await _join(client, await self._dialer.dial(target, proxy=True, tls=tls))

    async def _end(self) -> None:
        """End everything in bounded time."""
        if self._server is not None:
            self._server.close()
        self.end_attempt()
        self._dialer.close()
        if self._connections:
            await asyncio.wait(set(self._connections), timeout=_ENDS_WITHIN)


async def _join(client: Stream, server: Stream) -> None:
    try:
        await splice(client, server)
    finally:
        server.writer.close()


def _trust() -> ssl.SSLContext:
    """Return whom to trust of the proxies: the authorities of this host, and those that Playwright's driver trusts."""
    context = ssl.create_default_context()
    if file := os.environ.get("NODE_EXTRA_CA_CERTS"):
        with contextlib.suppress(OSError):  # as Node has it: the connection tells what is wrong with the certificate
            context.load_verify_locations(file)
    return context


def _parsed(proxy: ProxySettings) -> tuple[str, Target]:
    """Return scheme and address of a proxy, as Playwright reads them."""
    if {part.strip() for part in (proxy.get("bypass") or "").split(",")} - {"", _BYPASS}:
        raise UnsupportedProxyError(
            "A context cannot go past its proxy to some hosts (`bypass`) where Machines have no network of their own."
            " Open another context without a proxy for these hosts."
        )
    server = proxy.get("server", "")
    try:
        parts = urlsplit(server if _SCHEME.match(server) else f"http://{server}")
        if parts.hostname and parts.scheme in _PORTS:
            return parts.scheme, Target(parts.hostname, parts.port or _PORTS[parts.scheme])
    except ValueError:
        pass  # it has no host, or no port, that is one
    raise UnsupportedProxyError(
        "The proxy of a context must be an address such as http://host:port, with scheme http, https or socks5."
    )
