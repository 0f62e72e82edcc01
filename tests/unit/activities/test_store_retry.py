"""Patience with a store."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from activities.store_retry import retry_store
from callboard.schemas.errors import StoreError


class Store:
    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.asked = 0

    async def get(self) -> int:
        self.asked += 1
        if self.asked <= self.failures:
            raise StoreError(f"failure {self.asked}")
        return self.asked


@pytest.mark.parametrize("failures", [0, 2])
async def test_a_store_is_asked_until_it_answers(failures: int) -> None:
    assert await retry_store(timedelta(minutes=1), Store(failures).get) == failures + 1


async def test_patience_ends_with_what_the_store_said_last() -> None:
    store = Store(1000)
    with pytest.raises(StoreError) as caught:
        await retry_store(timedelta(seconds=0.5), store.get)
    assert store.asked > 1
    assert caught.value.message == f"failure {store.asked}"


async def test_without_patience_there_is_one_try() -> None:
    store = Store(1000)
    with pytest.raises(StoreError, match="failure 1"):
        await retry_store(timedelta(), store.get)
    assert store.asked == 1


async def test_any_other_error_is_not_waited_out() -> None:
    asked: list[None] = []

    async def broken() -> None:
        asked.append(None)
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        await retry_store(timedelta(seconds=0.5), broken)
    assert len(asked) == 1


async def test_whoever_is_cancelled_does_not_go_on_asking() -> None:
    store = Store(1000)
    asking = asyncio.create_task(retry_store(timedelta(minutes=1), store.get))
    while not store.asked:
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
