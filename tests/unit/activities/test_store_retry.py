"""Patience with a store."""

from __future__ import annotations

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


async def test_patience_ends_with_what_the_store_said_last() -> None:
    store = Store(1000)
    with pytest.raises(StoreError) as caught:
        await retry_store(timedelta(seconds=0.5), store.get)
    assert store.asked > 1
    assert caught.value.message == f"failure {store.asked}"
