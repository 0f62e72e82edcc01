"""Publish which Machines of a worker are up, busy or warm, so that whoever starts Runs sees what waits for work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError

from temporal.pool_usage import MACHINES_HEARTBEAT, Up, tell

log = logging.getLogger(__name__)

_LOOK_EVERY = timedelta(seconds=1)
"""Time between two looks, and so the delay of a change. A change costs Temporal a note in memory, however many
Attempts come and go meanwhile."""


async def report(client: Client, identity: str, up: Callable[[], Mapping[str, Up]]) -> None:
    """Publish the Machines to Temporal until cancelled, and finally that none is up any more.

    A failed update is sent again later.
    """
    told: Mapping[str, Up] = {}
    at = -MACHINES_HEARTBEAT.total_seconds()
    loop = asyncio.get_running_loop()
    try:
        while True:
            now = dict(up())
            if now != told or loop.time() - at >= MACHINES_HEARTBEAT.total_seconds():
                told, at = now, loop.time()
                try:
                    await tell(client, identity, now)
                except RPCError as error:
                    log.debug("its Machines could not be told: %s", error.message)
            await asyncio.sleep(_LOOK_EVERY.total_seconds())
    finally:
        with suppress(RPCError):
            await tell(client, identity, told, leaving=True)
