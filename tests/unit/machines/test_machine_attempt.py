"""The clock of an Attempt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from machines.attempt_spec import Version
from machines.machine import Machine, MachineAttempt
from schemas.workflow.attempt import AttemptStatus
from tests.support.machines import attempt_spec, unnoticed
from tests.support.polling import until


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


async def test_an_outcome_that_is_heard_together_with_the_time_out_counts() -> None:
    said = asyncio.Queue[dict[str, Any] | None]()

    async def messages() -> AsyncGenerator[dict[str, Any]]:
        while (message := await said.get()) is not None:
            yield message

    async def send(_kind: str, **_message: Any) -> None: ...

    def say() -> None:
        said.put_nowait({"type": "done", "result": "1", "extendedPayloads": None, "session": None, "attributes": {}})
        time.sleep(0.2)  # so that the loop hears of this and of the end of the time at once

    channel = cast("Any", SimpleNamespace(messages=messages(), send=send))
    machine = Machine("lab-1", Version("lab", "1", Path("/nowhere"), 0, 0, 0), cast("Any", None), channel, "1")
    asyncio.get_running_loop().call_later(0.1, say)
    report = await machine.run_attempt(attempt_spec("any", timeout=0.2), unnoticed)
    assert report.result == "1"
    said.put_nowait(None)
    await until(lambda: machine.retire_reason)
