"""`python -m api`: the api service as a process of its own, configured by the environment."""

from __future__ import annotations

import logging
import socket
import sys

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from api.app import create_app
from contract.errors import CallboardError
from security.masking import mask_url
from settings import Settings

log = logging.getLogger("api")

_GRACE = 10
"""Seconds for the answers under way when told to stop; whoever waits for a Run is answered at once."""


class _Server(uvicorn.Server):
    """Tells the application that it is closing before it waits for its answers."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                lifespan="on",
                log_config=None,
                access_log=False,  # api.boundary writes its own
                server_header=False,
                timeout_graceful_shutdown=_GRACE,
            )
        )
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.parts.closing.set()
        await super().shutdown(sockets)


def main() -> None:
    """Serve until told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = Settings()
        app = create_app(settings)
    except ValidationError as error:
        for line in error.errors(include_url=False, include_input=False):
            log.error("CALLBOARD_%s: %s", "_".join(map(str, line["loc"])).upper(), line["msg"])  # noqa: TRY400
        sys.exit(2)
    except CallboardError as error:
        log.error("%s", error.message)  # noqa: TRY400 - the sentence says it, a trace would not
        sys.exit(2)
    log.info("Temporal at %s, artifacts in %s", settings.temporal_address, mask_url(settings.artifact_location))
    server = _Server(app, settings)
    server.run()
    if not server.started:
        sys.exit(3)


if __name__ == "__main__":
    main()
