"""Whether Temporal answers, and a connection once it does."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import timedelta

from temporalio.client import Client

from callboard.schemas.errors import ConfigurationError, Unavailable
from callboard.settings import Settings
from callboard.temporal.client import connect
from callboard.temporal.connection_config import Connection
from callboard.temporal.rpc_errors import connect_error, is_refused, translate_rpc_errors

log = logging.getLogger(__name__)

CONNECT_TIMEOUT = timedelta(seconds=30)
"""How long a worker tries to connect to Temporal."""
_CONNECT_INTERVAL = 1.0
"""Seconds between two tries to connect to Temporal."""
_CHECK_TIMEOUT = timedelta(seconds=3)
_FIRST_CHECK_TIMEOUT = 5.0


class TemporalHealth:
    """The health of one Temporal namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def check(self) -> None:
        """Check that Temporal answers for the namespace. Raises Unavailable, or ConfigurationError."""
        try:
            with translate_rpc_errors():
                await self._client.count_workflows("WorkflowId = 'readiness'", rpc_timeout=_CHECK_TIMEOUT)
        except Unavailable as error:
            if not isinstance(error.__cause__, RuntimeError):
                raise
            raise connect_error(self._client.service_client.config, error.__cause__) from error.__cause__


async def check_access(settings: Settings, connection: Connection) -> str | None:
    """Try to use Temporal once, and return what is wrong now, if anything, that may be right later.

    Raises:
        ConfigurationError: Temporal refuses this client: its API key, its client certificate, or TLS is wrong.
    """
    try:
        async with asyncio.timeout(_FIRST_CHECK_TIMEOUT):
            client = await connect(settings, connection=connection, retry_timeout=_CHECK_TIMEOUT)
            await TemporalHealth(client).check()
    except TimeoutError:
        return f"Temporal at {connection.address} has not answered within {_FIRST_CHECK_TIMEOUT:g} seconds."
    except ConfigurationError as error:
        if isinstance(error.__cause__, RuntimeError) or is_refused(error.__cause__):
            raise
        return error.message  # such as a namespace that is about to be made
    except Unavailable as error:
        return error.message
    return None


async def connect_once_up(settings: Settings, connection: Connection, identity: str, stop: asyncio.Event) -> Client:
    """Connect a worker to Temporal; it may not be there yet, as both are started at the same time.

    Raises:
        Unavailable: It could not be reached for `CONNECT_TIMEOUT`, or until `stop` was set.
        ConfigurationError: It refuses, such as an API key, or for a namespace that does not exist.
    """
    loop, logged = asyncio.get_running_loop(), ""
    deadline = loop.time() + CONNECT_TIMEOUT.total_seconds()
    while True:
        try:
            client = await connect(settings, connection=connection, identity=identity, retry_timeout=CONNECT_TIMEOUT)
        except Unavailable as error:
            if stop.is_set() or loop.time() > deadline:
                raise
            if error.message != logged:
                logged = error.message
                log.warning("%s The worker tries again for %g seconds.", logged, CONNECT_TIMEOUT.total_seconds())
        else:
            await TemporalHealth(client).check()
            log.info("Temporal at %s", connection)
            return client
        with suppress(TimeoutError):
            async with asyncio.timeout(_CONNECT_INTERVAL):
                await stop.wait()
