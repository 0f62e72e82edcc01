"""A worker has Machines by lease: they end with it, also if the worker cannot end them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from callboard.machines.lease import Lease, LeaseEndedError, Tell, boottime
from tests.support.keepers import IDLES, SLEEPS, Keep
from tests.support.machines import ENDLESS, Lab, attempt_of
from tests.support.polling import until


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


@pytest.mark.parametrize("code", [SLEEPS, IDLES], ids=["busy", "idle"])
def test_the_keeper_ends_everything_at_the_deadline(keep: Keep, code: str) -> None:
    deadline = boottime() + 0.7
    kept = keep(code, deadline=deadline)
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


class CutLease(Lease):
    """A lease that can be cut short, as no real one can: a test need not wait for its end."""

    def __init__(self) -> None:
        super().__init__(boottime() + 60)
        self.tells: list[Tell] = []

    def follow(self, tell: Tell) -> Callable[[], None]:
        self.tells.append(tell)
        return super().follow(tell)

    def cut(self) -> None:
        self.deadline = boottime()
        for tell in self.tells:
            tell(self.deadline)


async def test_an_attempt_whose_lease_ends_is_given_up_and_has_not_failed(lab: Lab) -> None:
    lease = CutLease()
    pool, version = lab.pool(launch=replace(lab.launch, lease=lease)), lab.version(ENDLESS)
    first, second = attempt_of("awaits"), attempt_of("awaits")
    running = asyncio.create_task(pool.run_attempt(version, first))
    await until(lambda: first.start)
    lease.cut()
    with pytest.raises(LeaseEndedError):
        await running
    lab.assert_clean()
    with pytest.raises(LeaseEndedError):
        await pool.run_attempt(version, second)
    lab.assert_clean()
    assert second.start is None
