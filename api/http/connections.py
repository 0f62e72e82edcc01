"""The HTTP protocol of the api's two ports: uvicorn's own, bounded in what a client without a key may occupy.

uvicorn limits neither how large the headers of a request are nor how long a request may take to arrive, so a client
could fill the memory with one header that never ends, or hold any number of connections open without asking for
anything. The limits apply before the application is called. A client whose request is complete is never limited here:
a long poll or an event stream may wait as long as the application lets it.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
from dataclasses import dataclass
from typing import Any, override
from uuid import uuid4

import httptools
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from api.http.errors import error_response
from api.http.middleware import CORRELATION_HEADER
from callboard.schemas.errors import (
    BadRequest,
    CallboardError,
    ConfigurationError,
    HeaderFieldsTooLarge,
    RequestTimeout,
    TooMany,
    Unavailable,
    UriTooLong,
)

log = logging.getLogger(__name__)

_OTHER_FILES = 200
"""Number of files that the process opens beside its connections: for Temporal, artifacts, its own code, its log."""

_WARN_EVERY = 60
"""Seconds between two warnings that connections have to give way: there may be thousands of them."""


@dataclass(frozen=True)
class Limits:
    """The limits of what a server accepts, on all its ports together."""

    connections: int = 2_000
    """Connections at once. A client that waits for a Run occupies one, and about 40 kB of memory. When there are more,
    the one that has waited longest for its client is closed."""
    head_bytes: int = 32 * 1024
    """Bytes of a request's target and headers: as much as nginx accepts, and 8 times a large cookie."""
    headers: int = 100
    """Headers of a request; browsers and chains of proxies send about 30."""
    head_timeout: float = 20
    """Seconds for a request line and its headers to arrive, from their first byte on or from the connection."""
    body_timeout: float = 300
    """Seconds for the body to arrive: enough for the largest one in JSON, 16 MiB, over a line of 56 kB/s, and for a
    Job of 256 MiB that is sent as lines over one of 900 kB/s."""
    pipelined: int = 16
    """Requests that a client may send ahead on one connection without waiting for the answers."""
    linger: float = 5
    """Seconds that the rest of a refused request is read and discarded. Closing at once would reset the connection,
    and the client would lose the answer that tells what was wrong."""
    peer_timeout: int = 120
    """Seconds after which the kernel gives up a client that acknowledges nothing or takes no data: it was cut off from
    the network, or does not read its answer."""


class ServerConfig(uvicorn.Config):
    """The configuration of a server whose connections keep to `Limits`. One server has one configuration."""

    def __init__(self, app: ASGIApp, limits: Limits, **options: Any) -> None:
        # Nothing here speaks WebSocket, and a connection handed over to it would leave the limits behind.
        super().__init__(app, http=LimitedProtocol, ws="none", **options)
        self.limits = limits
        self.waiting: dict[LimitedProtocol, None] = {}
        """Connections whose client has to send something, the one that has waited longest first."""
        self.warned_at = float("-inf")
        """Time of the last warning that connections have to give way, by the loop's clock."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection of a client.

    It is always the turn of one side. While a request arrives, or is awaited, it is the client's turn, and its time is
    limited. While an answer is under way, it is the api's turn, and no time limit applies.
    """

    def __init__(
        self,
        config: ServerConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._server_config = config
        self._limits = config.limits
        self._waiting = config.waiting
        self._timer: asyncio.TimerHandle | None = None
        self._timer_is_for_body = False
        self._is_receiving = False
        self._head_complete = False
        self._head_bytes = 0
        self._unparsed = 0
        """Bytes that were fed to the parser since its last callback: it may be keeping them in memory."""
        self._exceeded: CallboardError | None = None
        """Error that names the exceeded limit, if one has stopped the parser."""
        self._refused = False

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as uvicorn's own
        super().connection_made(transport)
        self._set_kernel_timeouts(transport)
        self._waiting[self] = None
        self._start_timer(for_body=False)
        if len(self.connections) > self._limits.connections:
            self._make_room()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._unset_keepalive_if_required()
        self._waiting.pop(self, None)
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        parser = self.parser
        if self._refused or parser is None:
            return
        self._unset_keepalive_if_required()
        self._unparsed += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # No other protocol is spoken: the request is answered as if it had not asked for one.
        except httptools.HttpParserError:
            self._refuse(self._exceeded or BadRequest("What was sent is not an HTTP request, or a broken one."))
            return
        if self._unparsed > self._limits.head_bytes:
            self._refuse(self._headers_too_large())
            return
        self._update_turn()

    @override
    def shutdown(self) -> None:
        if self._refused:
            self.transport.close()
        else:
            super().shutdown()

    # These are the callbacks of the parser.

    @override
    def on_message_begin(self) -> None:
        if len(self.pipeline) >= self._limits.pipelined:
            self._stop_parser(TooMany(f"At most {self._limits.pipelined} requests may be sent ahead."))
        super().on_message_begin()
        self._is_receiving, self._head_complete, self._head_bytes, self._unparsed = True, False, 0, 0

    @override
    def on_url(self, url: bytes) -> None:
        self._unparsed = 0
        self._head_bytes += len(url)
        if self._head_bytes > self._limits.head_bytes:
            self._stop_parser(self._uri_too_long())
        super().on_url(url)

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        self._unparsed = 0
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > self._limits.head_bytes or len(self.headers) >= self._limits.headers:
            self._stop_parser(self._headers_too_large())
        super().on_header(name, value)

    @override
    def on_headers_complete(self) -> None:
        self._unparsed = 0
        super().on_headers_complete()
        self._head_complete = True

    @override
    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        super().on_body(body)

    @override
    def on_message_complete(self) -> None:
        self._unparsed = 0
        self._is_receiving = False
        self._stop_timer()
        super().on_message_complete()

    @override
    def on_response_complete(self) -> None:
        if self.cycle.response_complete:
            # The answer was sent without having read the body, such as one that is too large: drop it.
            self.cycle.body = bytearray()
        super().on_response_complete()
        if not self.transport.is_closing() and self._is_client_turn():
            self._waiting[self] = None
            if self._timer is not None:  # The next request could not be read meanwhile, so its time starts anew.
                self._start_timer(for_body=self._timer_is_for_body)

    # These methods decide whose turn it is, and limit the client's time.

    def _is_client_turn(self) -> bool:
        is_answering = self.cycle is not None and not self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison] - None at first
        return self._is_receiving or not is_answering

    def _update_turn(self) -> None:
        if not self._is_client_turn():
            self._waiting.pop(self, None)
            self._stop_timer()
            return
        self._waiting.setdefault(self)
        for_body = self._is_receiving and self._head_complete
        if self._timer is None or self._timer_is_for_body != for_body:
            self._start_timer(for_body=for_body)

    def _start_timer(self, *, for_body: bool) -> None:
        self._stop_timer()
        seconds = self._limits.body_timeout if for_body else self._limits.head_timeout
        self._timer = self.loop.call_later(seconds, self._on_timeout)
        self._timer_is_for_body = for_body

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self) -> None:
        if self.flow.read_paused:  # The api itself has paused reading, so the client could not have sent more.
            self._start_timer(for_body=self._timer_is_for_body)
        elif not self._is_receiving:
            self.transport.close()
        elif self._timer_is_for_body:
            seconds = self._limits.body_timeout
            self._refuse(RequestTimeout(f"The body of the request did not arrive within {seconds:g} seconds."))
        else:
            seconds = self._limits.head_timeout
            self._refuse(RequestTimeout(f"The headers of the request did not arrive within {seconds:g} seconds."))

    # These methods refuse requests and close connections.

    def _stop_parser(self, error: CallboardError) -> None:
        self._exceeded = error
        raise error

    def _uri_too_long(self) -> UriTooLong:
        return UriTooLong(f"The address of the request has more than {self._limits.head_bytes} bytes.")

    def _headers_too_large(self) -> HeaderFieldsTooLarge:
        return HeaderFieldsTooLarge(
            f"The request has more than {self._limits.headers} headers, or they have more than "
            f"{self._limits.head_bytes} bytes together with its address. Send fewer or shorter ones."
        )

    def _refuse(self, error: CallboardError) -> None:
        """Answer the arriving request with `error`, unless another answer is under way, and close the connection."""
        self._refused = True
        self._stop_timer()
        self._waiting.setdefault(self)
        correlation_id = uuid4().hex
        log.info("%s -> %d: %s [%s]", self.client, error.status, error.message, correlation_id)
        if not self._can_be_answered():
            self.transport.abort()
            return
        # The application reads the body: tell it that the client has left.
        if self._is_receiving and self._head_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        response = error_response(error, correlation_id, {CORRELATION_HEADER: correlation_id, "connection": "close"})
        head = [*self.server_state.default_headers, *response.raw_headers]
        lines = b"".join(b"%s: %s\r\n" % header for header in head)
        self.transport.write(STATUS_LINE[error.status] + lines + b"\r\n" + bytes(response.body))
        self.transport.write_eof()
        self._timer = self.loop.call_later(self._limits.linger, self.transport.abort)

    def _can_be_answered(self) -> bool:
        """Tell whether the client would take an answer for one to the arriving request, and not to another one."""
        if self.transport.is_closing() or self.pipeline:
            return False
        if self._is_receiving and self._head_complete:
            return not self.cycle.response_started
        return self.cycle is None or self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison]

    def _make_room(self) -> None:
        """Close the connection that has waited longest for its client, or this one if all others are being answered."""
        config = self._server_config
        if self.loop.time() - config.warned_at >= _WARN_EVERY:
            config.warned_at = self.loop.time()
            log.warning(
                "There are more than %d connections: those that have waited longest for their client are closed. "
                "Another api beside this one takes more.",
                self._limits.connections,
            )
        longest = next(iter(self._waiting))
        if longest is self:
            self._refuse(Unavailable("All connections are in use. Try again in a moment."))
        else:
            del self._waiting[longest]
            longest.transport.abort()

    def _set_kernel_timeouts(self, transport: asyncio.Transport) -> None:
        """Let the kernel detect that the client is gone, or reads nothing, while it is the api's turn."""
        peer: socket.socket = transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, self._limits.peer_timeout // 2))
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, self._limits.peer_timeout // 8))
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._limits.peer_timeout * 1000)


def raise_open_files_limit(connections: int) -> None:
    """Let the process open as many files as this number of connections needs.

    Raises:
        ConfigurationError: The system allows fewer open files.
    """
    needed = connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise ConfigurationError(
                f"{connections} connections on both ports need {needed} open files, but the system allows this process "
                f"{hard}. Raise the limit (`ulimit -Hn`)."
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
