"""A worker tells which of its Machines are up: busy or warm. Whoever starts Runs sees what waits for work."""

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
"""A change is told that late. It costs Temporal a note in memory, however many Attempts come and go meanwhile."""


async def report(client: Client, identity: str, up: Callable[[], Mapping[str, Up]]) -> None:
    """Tell Temporal, until cancelled; at last, that there are none any more. What fails is told again later."""
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
