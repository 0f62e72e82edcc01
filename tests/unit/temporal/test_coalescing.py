"""Callers share calls, and nobody gets an answer that is older than the question."""

from __future__ import annotations

import asyncio

import pytest

from callboard.temporal.coalescing import Coalescer
from tests.support.polling import until


class Calls:
    """Calls that end when they are told to."""

    def __init__(self) -> None:
        self.begun: list[asyncio.Future[str]] = []

    async def call(self) -> str:
        self.begun.append(asyncio.get_running_loop().create_future())
        return await self.begun[-1]


async def test_whoever_asks_while_a_call_runs_shares_the_next_one() -> None:
    calls, coalescer = Calls(), Coalescer[str, str]()
    first = [asyncio.create_task(coalescer.run("run", calls.call)) for _ in range(3)]
    await until(lambda: calls.begun)
    second = [asyncio.create_task(coalescer.run("run", calls.call)) for _ in range(3)]
    await asyncio.sleep(0)
    assert len(calls.begun) == 1, "the next call begins after this one"
    calls.begun[0].set_result("before")
    await until(lambda: len(calls.begun) == 2)
    calls.begun[1].set_result("after")
    assert await asyncio.gather(*first, *second) == ["before"] * 3 + ["after"] * 3
    assert len(calls.begun) == 2


async def test_a_caller_that_is_canceled_takes_the_call_from_nobody() -> None:
    calls, coalescer = Calls(), Coalescer[str, str]()
    leaving, staying = (asyncio.create_task(coalescer.run("run", calls.call)) for _ in range(2))
    await until(lambda: calls.begun)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    calls.begun[0].set_result("1")
    assert await staying == "1"


async def test_close_ends_calls_that_run_and_calls_that_have_not_begun() -> None:
    before = asyncio.all_tasks()
    calls, coalescer = Calls(), Coalescer[str, str]()
    asked = [asyncio.create_task(coalescer.run("run", calls.call))]
    await until(lambda: calls.begun)
    asked.append(asyncio.create_task(coalescer.run("run", calls.call)))
    await asyncio.sleep(0)
    await coalescer.close()
    assert [type(end) for end in await asyncio.gather(*asked, return_exceptions=True)] == [asyncio.CancelledError] * 2
    assert asyncio.all_tasks() <= before
    assert len(calls.begun) == 1
