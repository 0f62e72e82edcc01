"""A worker tells of its Machines: when they change, and that there are none when it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import cast

from temporalio.client import Client

from activities.workers import machine_reports
from machines.lease import Lease
from machines.pool import MachinePools
from temporal.pool_usage import PoolUsage, read_usage
from tests.support.polling import until


class Pools:
    """The pools of a worker, as far as they tell which Machines are up."""

    isolation = ""

    def __init__(self, up: Callable[[], dict[str, PoolUsage]]) -> None:
        self.up = up

    def items(self) -> list[tuple[str, SimpleNamespace]]:
        return [(name, SimpleNamespace(busy=used.busy, warm=used.warm)) for name, used in self.up().items()]


@asynccontextmanager
async def reporting(client: Client, identity: str, up: Callable[[], dict[str, PoolUsage]]) -> AsyncGenerator[None]:
    task = asyncio.create_task(machine_reports.report(client, identity, cast("MachinePools", Pools(up)), Lease()))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
    assert task.cancelled()


async def until_known(client: Client, project: str, wanted: PoolUsage | None) -> None:
    async def is_known() -> bool:
        return (await read_usage(client) or {}).get(project) == wanted

    await until(is_known)


async def test_changes_are_told_and_the_end(client: Client, name: str) -> None:
    up = {name: PoolUsage(busy=1)}
    async with reporting(client, name, lambda: up):
        await until_known(client, name, PoolUsage(busy=1))
        up = {name: PoolUsage(warm=1)}
        await until_known(client, name, PoolUsage(warm=1))
        up = {name: PoolUsage()}
        await until_known(client, name, PoolUsage())
    assert name not in (await read_usage(client) or {})


async def test_a_temporal_that_does_not_take_it_ends_nothing(client: Client, name: str) -> None:
    elsewhere = await Client.connect(client.service_client.config.target_host, namespace="nowhere")
    looks = 0

    def up() -> dict[str, PoolUsage]:
        nonlocal looks
        looks += 1
        return {name: PoolUsage(warm=looks)}

    async with reporting(elsewhere, name, up):
        await until(lambda: looks >= 3)
    assert name not in (await read_usage(client) or {})
