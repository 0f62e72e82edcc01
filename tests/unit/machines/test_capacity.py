"""A worker has no more Machines at once than its host has room for."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from callboard.machines.capacity import Capacity, host_capacity


def test_the_limits_of_a_container_count(tmp_path: Path) -> None:
    assert host_capacity(tmp_path) >= 1
    (tmp_path / "memory.max").write_text("3000000000\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert host_capacity(tmp_path) <= 4
    (tmp_path / "cpu.max").write_text("25000 100000\n")
    assert host_capacity(tmp_path) == 2
    (tmp_path / "memory.max").write_text("100000000\n")
    assert host_capacity(tmp_path) == 1


async def test_a_cancel_that_comes_with_the_place_gives_it_back() -> None:
    capacity = Capacity(1)
    await capacity.take()
    waits = asyncio.create_task(capacity.take())
    await asyncio.sleep(0)
    capacity.give_back()
    waits.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waits
    assert capacity.has_room


async def test_if_an_attempt_takes_the_machine_that_was_called_in_another_one_is() -> None:
    capacity = Capacity(2)
    await capacity.take()
    await capacity.take()
    with contextlib.ExitStack() as idle:
        first = idle.enter_context(capacity.offered())
        with capacity.offered() as second:
            waits = asyncio.create_task(capacity.take())
            await asyncio.sleep(0)
            assert (first.done(), second.done()) == (True, False)
            idle.close()
            assert second.done()
        capacity.give_back()
        await waits
