"""Answer `/healthz` from a thread of its own, so that there is an answer also when the event loop is stuck."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, override

from telemetry.addresses import listen
from telemetry.health import Liveness

log = logging.getLogger(__name__)

_CLIENT_TIMEOUT = 5
"""Seconds that a client may take for its request; it occupies a thread meanwhile."""
_CLIENTS = 16
"""How many clients are served at the same time, each by a thread. Others are turned away."""


@asynccontextmanager
async def health_server(address: str | None, liveness: Liveness) -> AsyncGenerator[None]:
    """Watch the event loop, and answer `/healthz` at this address, for as long as the block lasts.

    Without an address, nothing listens and nothing is watched.

    Raises:
        ConfigurationError: Nothing can listen at the address.
    """
    if address is None:
        yield
        return
    listener = listen("CALLBOARD_HEALTH_ADDRESS", address)
    server = _Server(listener, liveness)
    thread = threading.Thread(target=server.serve_forever, name="healthz", daemon=True)
    thread.start()
    try:
        async with liveness.ticking():
            yield
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    """The server of one process, on a socket that listens already."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, liveness: Liveness) -> None:
        self._places = threading.BoundedSemaphore(_CLIENTS)
        super().__init__(listener.getsockname()[:2], partial(_Handler, liveness), bind_and_activate=False)
        self.socket.close()
        self.socket = listener

    @override
    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    @override
    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("A client of healthz has left before its answer")


class _Handler(BaseHTTPRequestHandler):
    timeout = _CLIENT_TIMEOUT

    def __init__(self, liveness: Liveness, *connection: Any) -> None:
        self._liveness = liveness
        super().__init__(*connection)  # this handles the request

    def do_GET(self) -> None:
        """Answer a request."""
        if self.path.partition("?")[0] != "/healthz":
            self._answer(HTTPStatus.NOT_FOUND, {"message": "There is only /healthz here."})
            return
        problem = self._liveness.problem()
        if problem is None:
            self._answer(HTTPStatus.OK, {"status": "alive"})
            return
        log.error("healthz fails: %s", problem)
        self._answer(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "not-alive", "message": problem})

    do_HEAD = do_GET  # noqa: N815  # the name that the server looks for

    def _answer(self, status: int, body: dict[str, str]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    @override
    def version_string(self) -> str:
        return "callboard"

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Write no line for each of the requests, which come every few seconds."""
