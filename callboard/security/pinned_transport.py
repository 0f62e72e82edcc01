"""Provide a guarded transport for httpx, for requests on behalf of callers.

It looks a name up once, has every address checked (`callboard.security.egress`), and connects to one of those, with the
name in `Host` and in TLS: if the name resolves to something else a moment later, that changes nothing. It takes no
proxy from the environment, keeps no connection for another request, and follows no redirect.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Iterable
from typing import Any, cast, override

import httpcore
import httpx

from callboard.security.egress import EgressPolicy
from callboard.security.ip_policy import Address


class PinnedTransport(httpx.AsyncHTTPTransport):
    """An httpx transport that also raises EgressRefused, for an address that is not allowed."""

    def __init__(self, egress: EgressPolicy, *, tls: ssl.SSLContext | None = None) -> None:
        """Set up without connecting yet.

        Args:
            egress: The rules that say which addresses are allowed.
            tls: How servers are authenticated; by default as for every httpx client.
        """
        context = tls or httpx.create_ssl_context()
        super().__init__(verify=context, trust_env=False)
        # The pool of httpx connects to names. It is deleted and not overwritten, so that a version of httpx that keeps
        # its connections elsewhere fails here, and connects to nothing that was not checked.
        del self._pool
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=None,  # the sender limits the number; waiting here would be for dead hosts
            max_keepalive_connections=0,
            network_backend=PinnedNetworkBackend(egress),
        )


class PinnedNetworkBackend(httpcore.AsyncNetworkBackend):
    """A network backend that connects to checked addresses, never to names."""

    def __init__(self, egress: EgressPolicy) -> None:
        self._egress = egress
        self._inner = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    @override
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout) as limit:
                try:
                    addresses = await self._egress.resolve_allowed(host, port)
                except socket.gaierror as error:
                    raise httpcore.ConnectError(f"{host} cannot be looked up: {error.strerror}") from error
                return await self._first(host, port, addresses, limit)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"{host}:{port} takes no connection") from error

    async def _first(
        self, host: str, port: int, addresses: list[Address], limit: asyncio.Timeout
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that accepts; each address gets its share of the time that is left."""
        loop = asyncio.get_running_loop()
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for position, address in enumerate(addresses):
            end = limit.when()
            share = None if end is None else max(0.0, end - loop.time()) / (len(addresses) - position)
            try:
                return await self._inner.connect_tcp(str(address), port, timeout=share)
            except httpcore.ConnectTimeout as error:
                failure = httpcore.ConnectTimeout(f"{host}:{port} takes no connection")
                failure.__cause__ = error
            except httpcore.ConnectError as error:
                failure = httpcore.ConnectError(f"{host}:{port}: {_os_error_message(error)}")
                failure.__cause__ = error
        raise failure


def _os_error_message(error: BaseException) -> str:
    """Return the message of the operating system, which is at the end of the chain of causes."""
    cause: BaseException | None = error
    said = str(error)
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            said = os.strerror(cause.errno)
        cause = cause.__cause__
    return said
