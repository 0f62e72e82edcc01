"""An Attempt that waits for room says so, and waits no longer than it may."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from machines.capacity import Capacity, RoomTimeoutError, RoomWait


async def test_it_waits_within_the_block_and_only_there() -> None:
    wait, seen = RoomWait(), list[bool]()
    async with wait.waiting():
        over = asyncio.create_task(wait.over())
        await asyncio.sleep(0)
        seen.append(wait.waits)
        assert not over.done()
    await over
    assert (seen, wait.waits) == ([True], False)


async def test_what_it_waited_for_when_its_time_was_over_goes_to_the_next() -> None:
    capacity = Capacity(1)
    await capacity.take()
    wait = RoomWait(datetime.now(UTC) + timedelta(seconds=0.05))
    with pytest.raises(RoomTimeoutError):
        async with wait.waiting():
            await capacity.take()
    assert not wait.waits
    capacity.give_back()
    assert capacity.has_room


async def test_a_wait_that_begins_after_its_time_is_over_at_once() -> None:
    with pytest.raises(RoomTimeoutError):
        async with RoomWait(datetime.now(UTC) - timedelta(hours=1)).waiting():
            await asyncio.Event().wait()


async def test_another_time_out_is_not_taken_for_its_own() -> None:
    with pytest.raises(TimeoutError):
        async with RoomWait().waiting():
            raise TimeoutError
