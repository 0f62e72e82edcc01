"""What is known of the Machines of live workers, on Temporal's own server."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.client import Client

from temporal import pool_usage
from temporal.health import TemporalHealth
from temporal.pool_usage import PoolUsage, publish_usage, read_usage
from tests.support.polling import until


async def known(client: Client, project: str) -> PoolUsage | None:
    found = await read_usage(client)
    assert found is not None
    return found.get(project)


async def test_what_each_worker_tells_last_is_added_up(client: Client, name: str) -> None:
    await publish_usage(client, f"{name}-1", {name: PoolUsage(busy=2, warm=0)})
    await publish_usage(client, f"{name}-1", {name: PoolUsage(busy=1, warm=1), f"{name}-other": PoolUsage(busy=7)})
    await publish_usage(client, f"{name}-2", {name: PoolUsage(busy=1, warm=3)})
    assert await known(client, name) == PoolUsage(busy=2, warm=4)
    assert await known(client, f"{name}-other") == PoolUsage(busy=7, warm=0)
    assert await known(client, f"{name}-none") is None


async def test_machines_are_isolated_as_far_as_those_of_the_weakest_worker(client: Client, name: str) -> None:
    await publish_usage(client, f"{name}-1", {name: PoolUsage(warm=1)})
    assert await known(client, name) == PoolUsage(warm=1)
    await publish_usage(client, f"{name}-2", {name: PoolUsage(warm=1, isolation="full")})
    assert await known(client, name) == PoolUsage(warm=2, isolation="full")
    assert (await TemporalHealth(client).read_isolation())[name] == "full"
    await publish_usage(client, f"{name}-3", {name: PoolUsage(warm=1, isolation="none")})
    await publish_usage(client, f"{name}-4", {name: PoolUsage(warm=1, isolation="open")})
    assert await known(client, name) == PoolUsage(warm=4, isolation="none"), "the level with the fewest walls counts"


async def test_those_of_a_worker_that_leaves_are_gone_at_once(client: Client, name: str) -> None:
    await publish_usage(client, f"{name}-1", {name: PoolUsage(warm=1)})
    await publish_usage(client, f"{name}-2", {name: PoolUsage(warm=2)})
    await publish_usage(client, f"{name}-1", {name: PoolUsage(warm=1)}, shutting_down=True)
    assert await known(client, name) == PoolUsage(warm=2)


async def test_those_of_a_worker_that_is_heard_of_no_more_are_forgotten(
    client: Client, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish_usage(client, name, {name: PoolUsage(warm=1)})
    assert await known(client, name) == PoolUsage(warm=1)
    monkeypatch.setattr(pool_usage, "POOL_HEARTBEAT_INTERVAL", timedelta(milliseconds=10))
    await until(lambda: known(client, name), true=lambda known: known is None)
