"""Provide a guarded transport for httpx, for requests on behalf of callers.

It looks a name up once, has every address checked (`security.egress`), and connects to one of those, with the name in
`Host` and in TLS: if the name resolves to something else a moment later, that changes nothing. It takes no proxy from
the environment, keeps no connection for another request, and follows no redirect.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import contextmanager
from typing import Any, cast, override

import httpcore
import httpx

from security.egress import EgressPolicy
from security.ip_policy import Address


class PinnedTransport(httpx.AsyncBaseTransport):
    """An httpx transport that raises what httpx raises, and EgressRefused for an address that is not allowed."""

    def __init__(self, egress: EgressPolicy, *, tls: ssl.SSLContext | None = None) -> None:
        """Set up without connecting yet.

        Args:
            egress: The rules that say which addresses are allowed.
            tls: How servers are authenticated; by default as for every httpx client.
        """
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls or httpx.create_ssl_context(),
            max_connections=None,  # the sender limits the number; waiting here would be for dead hosts
            max_keepalive_connections=0,
            network_backend=PinnedNetworkBackend(egress),
        )

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        asked = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=cast("httpx.AsyncByteStream", request.stream),
            extensions=request.extensions,
        )
        with map_httpcore_exceptions():
            answer = await self._pool.handle_async_request(asked)
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_ResponseStream(answer),
            extensions=answer.extensions,  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        )

    @override
    async def aclose(self) -> None:
        await self._pool.aclose()


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


class _ResponseStream(httpx.AsyncByteStream):
    """The body of an answer, as it arrives."""

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    @override
    async def __aiter__(self) -> AsyncGenerator[bytes]:
        with map_httpcore_exceptions():
            async for part in self._answer.aiter_stream():
                yield part

    @override
    async def aclose(self) -> None:
        with map_httpcore_exceptions():
            await self._answer.aclose()


@contextmanager
def map_httpcore_exceptions() -> Generator[None]:
    """Translate the exceptions of httpcore into those of httpx, which have the same names."""
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
        kind: type[httpx.TransportError] = getattr(httpx, type(error).__name__)
        raise kind(str(error)) from error
    except httpcore.UnsupportedProtocol as error:
        raise httpx.UnsupportedProtocol(str(error)) from error


def _os_error_message(error: BaseException) -> str:
    """Return the message of the operating system, which is at the end of the chain of causes."""
    cause: BaseException | None = error
    said = str(error)
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            said = os.strerror(cause.errno)
        cause = cause.__cause__
    return said
