"""What is known of the Machines of live workers, on Temporal's own server."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.client import Client

from temporal import pool_usage
from temporal.pool_usage import Machines, Up, machines, tell
from tests.support.polling import until


async def known(client: Client, project: str) -> Machines | None:
    found = await machines(client)
    assert found is not None
    return found.get(project)


async def test_what_each_worker_tells_last_is_added_up(client: Client, name: str) -> None:
    await tell(client, f"{name}-1", {name: Up(busy=2, warm=0)})
    await tell(client, f"{name}-1", {name: Up(busy=1, warm=1), f"{name}-other": Up(busy=7)})
    await tell(client, f"{name}-2", {name: Up(busy=1, warm=3)})
    assert await known(client, name) == Machines(offered=0, busy=2, warm=4)
    assert await known(client, f"{name}-other") == Machines(offered=0, busy=7, warm=0)
    assert await known(client, f"{name}-none") is None


async def test_those_of_a_worker_that_leaves_are_gone_at_once(client: Client, name: str) -> None:
    await tell(client, f"{name}-1", {name: Up(warm=1)})
    await tell(client, f"{name}-2", {name: Up(warm=2)})
    await tell(client, f"{name}-1", {name: Up(warm=1)}, leaving=True)
    assert await known(client, name) == Machines(warm=2)


async def test_those_of_a_worker_that_is_heard_of_no_more_are_forgotten(
    client: Client, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tell(client, name, {name: Up(warm=1)})
    assert await known(client, name) == Machines(warm=1)
    monkeypatch.setattr(pool_usage, "MACHINES_HEARTBEAT", timedelta(milliseconds=10))

    async def forgotten() -> bool:
        return await known(client, name) is None

    await until(forgotten)
