"""Tell of the Machines of a worker: by heartbeats whoever starts Runs, and by metrics whoever operates the worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError

from machines.lease import Lease
from machines.pool import MachinePools
from telemetry import metrics
from temporal.pool_usage import POOL_HEARTBEAT_INTERVAL, PoolUsage, publish_usage

log = logging.getLogger(__name__)

_INTERVAL = timedelta(seconds=1)
"""Time between two looks, and so the delay of a change. A change costs Temporal a note in memory, however many
Attempts come and go meanwhile."""

_Numbers = Mapping[str, int]


async def report(
    client: Client, identity: str, pools: MachinePools, lease: Lease, on_round: Callable[[], None] = lambda: None
) -> None:
    """Tell of the Machines until cancelled, and finally tell Temporal that none is up any more.

    A heartbeat that failed is sent again later. `on_round` is called after each look at the Machines.
    """
    published: Mapping[str, PoolUsage] = {}
    counted: dict[str, _Numbers] = {}
    at = -POOL_HEARTBEAT_INTERVAL.total_seconds()
    loop = asyncio.get_running_loop()
    try:
        while True:
            now = {project: PoolUsage(pool.busy, pool.warm, pools.isolation) for project, pool in pools.items()}
            if now != published or loop.time() - at >= POOL_HEARTBEAT_INTERVAL.total_seconds():
                published, at = now, loop.time()
                try:
                    await publish_usage(client, identity, now)
                except RPCError as error:
                    log.debug("its Machines could not be published: %s", error.message)
            if metrics.current().is_on:
                counted = count_machines(now, {project: pool.memory for project, pool in pools.items()}, lease, counted)
            on_round()
            await asyncio.sleep(_INTERVAL.total_seconds())
    finally:
        with suppress(RPCError):
            await publish_usage(client, identity, published, shutting_down=True)


def count_machines(
    usage: Mapping[str, PoolUsage], memory: Mapping[str, int], lease: Lease, before: Mapping[str, _Numbers]
) -> dict[str, _Numbers]:
    """Tell by metrics what has changed of the Machines of each project, and return all numbers.

    A project that has gone ends with 0.
    """
    numbers: dict[str, _Numbers] = {}
    present = {*usage, *lease.projects}
    for project in {*present, *before}:
        pool = usage.get(project, PoolUsage())
        numbers[project] = {
            "leased": lease.share(project),
            "busy": pool.busy,
            "warm": pool.warm,
            "memory": memory.get(project, 0),
        }
        if numbers[project] != before.get(project):
            metrics.current().machines(project, **numbers[project])
    return {project: numbers[project] for project in present}
