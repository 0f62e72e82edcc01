"""Which Machines a worker may have and has is told by metrics, when it has changed."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from activities.workers import machine_metrics
from activities.workers.machine_metrics import CountedMachines, publish_machines
from activities.workers.machine_pools import MachinePools
from activities.workers.machine_shares import MachineShares
from machines.observer import RecycleCause
from temporal.pool_usage import PoolUsage
from tests.support.counted import Counted, counting
from tests.support.polling import until


class Pools:
    """The pools of a worker, as far as they tell of themselves."""

    def __init__(self) -> None:
        self.told: dict[str, PoolUsage] = {"shop": PoolUsage(busy=1, warm=2)}
        self.bytes = {"shop": 1000}
        self.looks = 0

    def usage(self) -> dict[str, PoolUsage]:
        self.looks += 1
        return self.told

    def memory(self) -> dict[str, int]:
        return self.bytes

    async def next_look(self) -> None:
        looked = self.looks
        await until(lambda: self.looks >= looked + 2)


def told(counted: Counted) -> dict[tuple[str, str], float]:
    return {(labels["project"], labels.get("state", "memory")): value for _, value, labels in counted()}


async def test_only_what_has_changed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_metrics, "_INTERVAL", 0.001)
    pools, shares = Pools(), MachineShares()
    shares.grant({"shop": 3, "other": 1})
    with counting() as counted:
        task = asyncio.create_task(publish_machines(cast("MachinePools", pools), shares))
        await pools.next_look()
        shop = {("shop", "leased"): 3, ("shop", "busy"): 1, ("shop", "warm"): 2, ("shop", "memory"): 1000}
        other = {("other", "leased"): 1, ("other", "busy"): 0, ("other", "warm"): 0, ("other", "memory"): 0}
        assert told(counted) == {**shop, **other}
        await pools.next_look()
        assert told(counted) == {}
        shares.revoke()
        pools.told, pools.bytes = {}, {}
        await pools.next_look()
        assert told(counted) == dict.fromkeys([*shop, *other], 0)
        task.cancel()
        await asyncio.wait({task})


def test_machines_that_come_and_go_are_counted() -> None:
    with counting() as counted:
        CountedMachines().started("shop")
        CountedMachines().recycled("shop", RecycleCause.IDLE)
        assert counted() == [
            ("callboard_machines_started", 1, {"project": "shop"}),
            ("callboard_machines_recycled", 1, {"project": "shop", "cause": "idle"}),
        ]
