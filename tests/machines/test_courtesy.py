"""A Machine gives way for a moment after a good check, and not where it is waited for."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from contract.flow.attempt import AttemptKind
from machines.runner.courtesy import Courtesy
from tests.machines.lab import Lab, order, unnoticed, value

PROJECT = {
    "auth-sessions/check.py": """
        async def check(page):
            await page.context.add_cookies([{"name": "seen", "value": "1", "url": "http://shop.test/"}])
            return True
    """,
    "api/cookies.py": """
        async def automation(page):
            return await page.context.cookies()
    """,
}


async def test_it_ends_when_somebody_waits() -> None:
    courtesy = Courtesy(3600)
    shown = asyncio.create_task(courtesy.show())
    await asyncio.sleep(0)
    assert not shown.done()
    courtesy.end()
    await shown
    await courtesy.show()  # whoever waited, waits still
    courtesy.renew()
    again = asyncio.create_task(courtesy.show())
    await asyncio.sleep(0)
    assert not again.done()
    again.cancel()
    with pytest.raises(asyncio.CancelledError):
        await again


async def test_it_ends_by_itself() -> None:
    await Courtesy(0.01).show()


async def test_the_attempt_behind_a_check_has_a_fresh_context_on_the_same_machine(lab: Lab) -> None:
    pool, version = lab.pool(1), lab.version(PROJECT)
    for _ in range(3):
        check = await pool.run(version, replace(order("-"), kind=AttemptKind.CHECK), unnoticed)
        assert value(check) is True
        assert value(await pool.run(version, order("cookies"), unnoticed)) == []
    machine = pool.slots[0].machine
    assert machine is not None
    assert machine.name == "lab-1-1"
