"""A worker has Machines by lease: they end with it, also if the worker cannot end them."""

from __future__ import annotations

import dataclasses
import time

import pytest

from machines.lease import Lease, LeaseEndedError, boottime
from tests.support.keepers import SLEEPS, Keep
from tests.support.machines import Lab, attempt_spec

WAITS = """
import asyncio

async def automation(page, **_):
    await asyncio.sleep(600)
"""


def test_a_lease_is_only_ever_extended_and_tells_its_followers() -> None:
    heard: list[float] = []
    lease = Lease(boottime() - 1)
    unfollow = lease.follow(heard.append)
    assert lease.ended
    later = boottime() + 60
    lease.extend(later)
    lease.extend(later - 30)
    assert (lease.deadline, lease.ended, heard) == (later, False, [later])
    assert 59 < lease.remaining <= 60
    unfollow()
    lease.extend(later + 1)
    assert heard == [later]
    assert not Lease().ended


def test_the_keeper_ends_everything_at_the_deadline(keep: Keep) -> None:
    deadline = boottime() + 0.7
    kept = keep(SLEEPS, deadline=deadline)
    kept.hear()
    assert kept.hear() == {"limit": "lease", "used": 0}
    assert deadline <= boottime() < deadline + 2
    kept.ends()


def test_the_keeper_takes_over_a_new_deadline(keep: Keep) -> None:
    kept = keep(SLEEPS, deadline=boottime() + 3)
    kept.hear()
    assert kept.process.stdin is not None
    deadline = boottime() + 4
    kept.process.stdin.write(f"{boottime() + 60}\n{deadline}\n".encode())
    kept.process.stdin.flush()
    assert kept.hear() == {"limit": "lease", "used": 0}
    assert deadline <= boottime()
    kept.ends()


async def test_an_attempt_whose_lease_ends_is_given_up_and_has_not_failed(lab: Lab) -> None:
    version = lab.version({"api/wait.py": WAITS})
    lease = Lease(boottime() + 60)
    pool = lab.pool(launch=dataclasses.replace(lab.launch, lease=lease))
    begun: list[float] = []

    def on_start(_start: object) -> None:
        begun.append(time.monotonic())
        lease.deadline = boottime()
        for tell in lease._followers:
            tell(lease.deadline)

    with pytest.raises(LeaseEndedError):
        await pool.run_attempt(version, attempt_spec("wait"), on_start)
    assert begun
    with pytest.raises(LeaseEndedError):
        await pool.run_attempt(version, attempt_spec("wait"), on_start)
    lab.assert_clean()
    assert len(begun) == 1
