"""Whether this process still works: its event loop turns over, and its parts in the background go on.

A health check of this kind has one use: whoever asks ends the process and starts another one if it fails. So it fails
only if a new process would help. A new process does not help if Temporal or the artifact store is away, or if there is
no work. So each part reports that it goes on while it waits and tries again. `/healthz` is answered from a thread of
its own, so that there is an answer also when the event loop is stuck.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, override

from callboard.telemetry.addresses import listen

log = logging.getLogger(__name__)

LOOP_TICK = timedelta(seconds=1)
LOOP_STUCK_AFTER = timedelta(seconds=30)
"""Time without a tick after which the event loop counts as stuck. A busy one ticks late by parts of a second."""
_CLIENT_TIMEOUT = 5
"""Seconds that a client may take for its request; it occupies a thread meanwhile."""
_CLIENTS = 16
"""How many clients are served at the same time, each by a thread. Others are turned away."""


class Pulse:
    """The sign of life of one thing that goes on in rounds. Each round ends with `beat`."""

    def __init__(self, what: str, within: timedelta, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin to expect rounds from now on.

        Args:
            what: What goes on, as the subject of a sentence.
            within: How long a round may take at most, also when all that it asks is away.
            clock: Returns seconds.
        """
        self._what = what
        self._within = within.total_seconds()
        self._clock = clock
        self._at = clock()

    def beat(self) -> None:
        """Note that a round, or a step of one, has ended."""
        self._at = self._clock()

    def problem(self) -> str | None:
        """Return what is wrong, in a sentence; None if nothing is."""
        age = self._clock() - self._at
        return None if age <= self._within else f"{self._what} has not come round for {age:.0f} seconds."


class Liveness:
    """All that has to go on in this process. It may be asked from any thread."""

    def __init__(self) -> None:
        self._loop: Pulse | None = None
        self._checks: list[Callable[[], str | None]] = []
        self._is_leaving = False

    def pulse(self, what: str, within: timedelta) -> Pulse:
        """Return a pulse that is watched from now on."""
        pulse = Pulse(what, within)
        self._checks.append(pulse.problem)
        return pulse

    def task(self, what: str, task: asyncio.Task[Any]) -> None:
        """Watch a task that should never end while the process works."""
        self._checks.append(lambda: f"{what} has ended." if task.done() else None)

    def leave(self) -> None:
        """Expect only the event loop to go on: the process is told to end, and its parts end one after the other."""
        self._is_leaving = True

    @asynccontextmanager
    async def ticking(self) -> AsyncGenerator[None]:
        """Expect the event loop to turn over for as long as the block lasts."""
        self._loop = Pulse("The event loop", LOOP_STUCK_AFTER)
        ticks = asyncio.create_task(self._tick(self._loop), name="tick")
        try:
            yield
        finally:
            self._loop = None
            ticks.cancel()
            await asyncio.wait({ticks})

    async def _tick(self, loop: Pulse) -> None:
        while True:
            loop.beat()
            await asyncio.sleep(LOOP_TICK.total_seconds())

    def problem(self) -> str | None:
        """Return what is wrong first, in a sentence; None if everything goes on."""
        loop = self._loop
        if loop is not None and (stuck := loop.problem()) is not None:
            return stuck
        if self._is_leaving:
            return None
        return next((problem for check in list(self._checks) if (problem := check()) is not None), None)


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
