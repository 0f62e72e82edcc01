"""Entry point of `python -m api`: the api service as a process, configured by the environment, on two ports."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from typing import override

from callboard.security.inspection import forbid_inspection

if __name__ == "__main__":
    forbid_inspection()  # This precedes the imports: they take a second, and the environment holds secrets.

import uvicorn
import uvloop
from pydantic import ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from api.app import create_app
from api.attempts.trace_viewer import create_viewer
from api.dependencies import Services, open_services
from api.http.connections import Limits, ServerConfig, raise_open_files_limit
from callboard.schemas.errors import CallboardError, ConfigurationError
from callboard.security.masking import mask_url
from callboard.settings import Settings
from callboard.telemetry.logs import configure_logging
from callboard.telemetry.runtime import install_runtime
from callboard.telemetry.tracing import start_tracing, stop_tracing
from callboard.temporal.connection_config import find_connection
from callboard.temporal.hard_exit import hard_exit
from callboard.temporal.health import check_access

log = logging.getLogger("api")

_SHUTDOWN_TIMEOUT = 10
"""Seconds that answers under way may take after a stop signal; clients that wait for a Run are answered at once."""


class _Server(uvicorn.Server):
    """The server of both ports. It tells the application that it is closing before it waits for answers under way."""

    def __init__(self, config: ServerConfig, services: Services) -> None:
        super().__init__(config)
        self._services = services

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._services.shutting_down.set()
        self._services.liveness.leave()
        await super().shutdown(sockets)
        # The process ends by the signal that it was sent, as soon as uvicorn is through with this.
        await asyncio.to_thread(stop_tracing)


def _by_port(api: ASGIApp, viewer: ASGIApp, viewer_port: int) -> ASGIApp:
    """Return the application that serves the trace viewer on its port, and the api on the other one."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        is_for_viewer = scope["type"] != "lifespan" and scope["server"][1] == viewer_port
        await (viewer if is_for_viewer else api)(scope, receive, send)

    return serve


_KEEP_ALIVE_TIMEOUT = 75
"""Seconds that an unused connection stays open. Clients and proxies close theirs sooner (httpx after 5 s): if both
sides did so at once, a request could meet a connection that is just being closed, and would get no answer."""


def _server_config(app: ASGIApp, settings: Settings) -> ServerConfig:
    # `access_log` is off because `api.http.middleware` writes an access log of its own.
    return ServerConfig(
        app,
        Limits(),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_TIMEOUT,
        timeout_graceful_shutdown=_SHUTDOWN_TIMEOUT,
        # These are set in any case: uvicorn's default trusts loopback, or what the variable FORWARDED_ALLOW_IPS names.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[str(network) for network in settings.trusted_proxies],
    )


def _listen(host: str, port: int, what: str, variable: str) -> socket.socket:
    """Return a socket that listens on a port. Raises ConfigurationError."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise ConfigurationError(
            f"{what} cannot listen on port {port} of {host} ({why}). Choose another with {variable}."
        ) from error


async def _serve(settings: Settings, listeners: list[socket.socket]) -> bool:
    """Serve until told to stop, and return whether the api has come up.

    Raises:
        ConfigurationError: What is wrong with the settings, or why Temporal refuses this client.
    """
    connection = find_connection(settings)
    services = await open_services(settings, connection)
    viewer = create_viewer(workspace=settings.workspace, ring=services.ring, store=services.store)
    app = _by_port(create_app(services), viewer, settings.viewer_listens_on)
    server = _Server(_server_config(app, settings), services)
    problem = await check_access(settings, connection)
    log.info("Temporal at %s, artifacts in %s", connection, mask_url(settings.artifact_location))
    if problem is not None:
        log.warning("%s The api starts nevertheless, and tries again at each request.", problem)
    try:
        await server.serve(listeners)
    finally:
        stop_tracing()
    return server.started


def main() -> None:
    """Serve until told to stop."""
    configure_logging()
    try:
        settings = Settings()
        raise_open_files_limit(Limits.connections)
        install_runtime(settings, "api")
        start_tracing("callboard-api")
        viewer = _listen(settings.host, settings.viewer_listens_on, "The trace viewer", "CALLBOARD_VIEWER_PORT")
        settings = settings.model_copy(update={"viewer_port": viewer.getsockname()[1]})
        api = _listen(settings.host, settings.port, "The api", "CALLBOARD_PORT")
        started = asyncio.run(_serve(settings, [api, viewer]), loop_factory=uvloop.new_event_loop)
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
