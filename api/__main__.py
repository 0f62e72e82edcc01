"""Entry point of `python -m api`: the api service as a process, configured by the environment, on two ports."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, override

from security.inspection import forbid_inspection

if __name__ == "__main__":
    forbid_inspection()  # This precedes the imports: they take a second, and the environment holds secrets.

import uvicorn
import uvloop
from pydantic import ValidationError
from starlette.types import ASGIApp

from api.app import create_app
from api.dashboard.viewer.app import create_viewer
from api.dependencies import Services, open_services
from api.http.connections import Limits, ServerConfig, raise_open_files_limit
from schemas.errors import CallboardError, ConfigurationError
from security.masking import mask_url
from settings import Settings
from telemetry.logs import configure_logging
from telemetry.runtime import install_runtime
from telemetry.tracing import start_tracing, stop_tracing
from temporal.connection_config import find_connection
from temporal.hard_exit import hard_exit
from temporal.health import check_access

log = logging.getLogger("api")

_SHUTDOWN_TIMEOUT = 10
"""Seconds that answers under way may take after a stop signal; clients that wait for a Run are answered at once."""


class _ViewerServer(uvicorn.Server):
    """The server of the trace viewer, on its own port. It runs as long as that of the api, which handles signals."""

    def __init__(self, app: ASGIApp, settings: Settings, listener: socket.socket) -> None:
        super().__init__(_server_config(app, settings, lifespan="off", timeout_graceful_shutdown=1))
        self._listener = listener

    @contextmanager
    @override
    def capture_signals(self) -> Generator[None]:
        yield

    async def serve_until_exit(self) -> None:
        """Serve until `should_exit` is set."""
        await self.serve([self._listener])


class _ApiServer(uvicorn.Server):
    """The server of the api. It tells the application that it is closing before it waits for answers under way."""

    def __init__(self, services: Services, viewer: _ViewerServer) -> None:
        settings = services.settings
        super().__init__(
            _server_config(
                create_app(services),
                settings,
                lifespan="on",
                timeout_graceful_shutdown=_SHUTDOWN_TIMEOUT,
                host=settings.host,
                port=settings.port,
            )
        )
        self._services = services
        self._viewer = viewer
        self._viewer_task: asyncio.Task[None] | None = None

    @override
    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._viewer_task = asyncio.create_task(self._viewer.serve_until_exit(), name="trace viewer")
        self._services.liveness.task("The trace viewer", self._viewer_task)
        try:
            await super().serve(sockets)
        finally:
            await self._close_viewer(self._viewer_task)

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._services.shutting_down.set()
        self._services.liveness.leave()
        await super().shutdown(sockets)
        # The process ends by the signal that it was sent, as soon as uvicorn is through with this.
        if self._viewer_task is not None:
            await self._close_viewer(self._viewer_task)
        await asyncio.to_thread(stop_tracing)

    async def _close_viewer(self, viewer_task: asyncio.Task[None]) -> None:
        self._viewer.should_exit = True
        await viewer_task


_KEEP_ALIVE_TIMEOUT = 75
"""Seconds that an unused connection stays open. Clients and proxies close theirs sooner (httpx after 5 s): if both
sides did so at once, a request could meet a connection that is just being closed, and would get no answer."""


def _server_config(app: ASGIApp, settings: Settings, **options: Any) -> ServerConfig:
    # `access_log` is off because `api.http.middleware` writes an access log of its own.
    return ServerConfig(
        app,
        Limits(connections=settings.max_connections),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_TIMEOUT,
        # These are set in any case: uvicorn's default trusts loopback, or what the variable FORWARDED_ALLOW_IPS names.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[str(network) for network in settings.trusted_proxies],
        **options,
    )


def _bind_viewer_port(settings: Settings) -> socket.socket:
    """Bind the viewer's port, before its number is used in addresses. Raises ConfigurationError."""
    port, family = settings.viewer_listens_on, socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, port), family=family, backlog=128)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigurationError(
            f"The trace viewer cannot listen on port {port} ({why}). Choose another with CALLBOARD_VIEWER_PORT."
        ) from error


async def _serve(settings: Settings, listener: socket.socket) -> bool:
    """Serve until told to stop, and return whether the api has come up.

    Raises:
        ConfigurationError: What is wrong with the settings, or why Temporal refuses this client.
    """
    connection = find_connection(settings)
    services = await open_services(settings, connection)
    viewer = create_viewer(workspace=settings.workspace, ring=services.ring, store=services.store)
    server = _ApiServer(services, _ViewerServer(viewer, settings, listener))
    problem = await check_access(settings, connection)
    log.info("Temporal at %s, artifacts in %s", connection, mask_url(settings.artifact_location))
    if problem is not None:
        log.warning("%s The api starts nevertheless, and tries again at each request.", problem)
    try:
        await server.serve()
    finally:
        stop_tracing()
    return server.started


def main() -> None:
    """Serve until told to stop."""
    configure_logging()
    try:
        settings = Settings()
        raise_open_files_limit(2 * settings.max_connections)
        install_runtime(settings, "api")
        start_tracing("callboard-api")
        listener = _bind_viewer_port(settings)
        settings = settings.model_copy(update={"viewer_port": listener.getsockname()[1]})
        started = asyncio.run(_serve(settings, listener), loop_factory=uvloop.new_event_loop)
    except ValidationError as error:
        for line in error.errors(include_url=False, include_input=False):
            log.error("CALLBOARD_%s: %s", "_".join(map(str, line["loc"])).upper(), line["msg"])  # noqa: TRY400
        sys.exit(2)
    except CallboardError as error:
        log.error("%s", error.message)  # noqa: TRY400 - the message says what is wrong, a traceback would not
        hard_exit(2)  # it may have talked to Temporal
    if not started:
        sys.exit(3)


if __name__ == "__main__":
    main()
