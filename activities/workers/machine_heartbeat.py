"""Publish which Machines of a worker are up, busy or warm, so that whoever starts Runs sees what waits for work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError

from temporal.pool_usage import POOL_HEARTBEAT_INTERVAL, PoolUsage, publish_usage

log = logging.getLogger(__name__)

_CHECK_INTERVAL = timedelta(seconds=1)
"""Time between two looks, and so the delay of a change. A change costs Temporal a note in memory, however many
Attempts come and go meanwhile."""


async def report(
    client: Client,
    identity: str,
    usage: Callable[[], Mapping[str, PoolUsage]],
    on_round: Callable[[], None] = lambda: None,
) -> None:
    """Publish the Machines to Temporal until cancelled, and finally that none is up any more.

    A failed update is sent again later. `on_round` is called after each look at them.
    """
    published: Mapping[str, PoolUsage] = {}
    at = -POOL_HEARTBEAT_INTERVAL.total_seconds()
    loop = asyncio.get_running_loop()
    try:
        while True:
            now = dict(usage())
            if now != published or loop.time() - at >= POOL_HEARTBEAT_INTERVAL.total_seconds():
                published, at = now, loop.time()
                try:
                    await publish_usage(client, identity, now)
                except RPCError as error:
                    log.debug("its Machines could not be published: %s", error.message)
            on_round()
            await asyncio.sleep(_CHECK_INTERVAL.total_seconds())
    finally:
        with suppress(RPCError):
            await publish_usage(client, identity, published, shutting_down=True)
