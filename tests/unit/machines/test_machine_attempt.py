"""The clock of an Attempt."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from machines.machine import MachineAttempt
from schemas.workflow.attempt import AttemptStatus
from tests.support.machines import attempt_spec, unnoticed


async def test_the_clock_can_be_extended_often_but_not_past_the_hard_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("machines.machine.HARD_LIMIT", timedelta(seconds=0.5))
    loop = asyncio.get_running_loop()
    began = loop.time()
    attempt = MachineAttempt(attempt_spec("any", timeout=0.2), unnoticed)

    async def extend() -> None:
        async with asyncio.timeout(0.2) as attempt.clock:
            while True:
                attempt.extend()
                await asyncio.sleep(0.01)

    with pytest.raises(TimeoutError):
        await extend()
    assert loop.time() - began >= 0.5
    attempt.extend()  # too late, and no error


async def test_what_is_heard_first_counts() -> None:
    attempt = MachineAttempt(attempt_spec("any"), unnoticed)
    attempt.resolve({"result": "1"})
    attempt.resolve(None)
    assert await attempt.done == {"result": "1"}
    report = attempt.report("lab-1", result="1")
    assert (report.status, report.machine, report.browser_version) == (AttemptStatus.COMPLETED, "lab-1", None)
    assert report.started_at <= report.ended_at


async def test_an_end_that_comes_with_the_end_of_the_time_stands() -> None:
    attempt = MachineAttempt(attempt_spec("any"), unnoticed)

    async def wait() -> None:
        async with asyncio.timeout(0):
            await attempt.done

    assert not attempt.has_ended
    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    attempt.resolve({"result": "1"})
    await asyncio.wait({waiting})
    assert attempt.has_ended
    late = MachineAttempt(attempt_spec("any"), unnoticed)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await late.done
    late.resolve({"result": "1"})
    assert not late.has_ended
