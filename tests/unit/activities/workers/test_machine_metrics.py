"""Which Machines a worker may have and has is told by metrics, when it has changed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from activities.workers.machine_metrics import count_machines
from callboard.machines.lease import Lease
from callboard.machines.pool import Pool
from tests.support.counted import Counted, counting


def told(counted: Counted) -> dict[tuple[str, str], float]:
    return {(labels["project"], labels.get("state", "memory")): value for _, value, labels in counted()}


def test_only_what_has_changed_is_told() -> None:
    pools, lease = {"shop": cast("Pool", SimpleNamespace(busy=1, warm=2, memory=1000))}, Lease()
    lease.grant({"shop": 3, "other": 1})
    with counting() as counted:
        before = count_machines(pools, lease, {})
        shop = {("shop", "leased"): 3, ("shop", "busy"): 1, ("shop", "warm"): 2, ("shop", "memory"): 1000}
        other = {("other", "leased"): 1, ("other", "busy"): 0, ("other", "warm"): 0, ("other", "memory"): 0}
        assert told(counted) == {**shop, **other}
        assert count_machines(pools, lease, before) == before
        assert told(counted) == {}
        lease.revoke()
        assert count_machines({}, lease, before) == {}
        assert told(counted) == dict.fromkeys([*shop, *other], 0)
