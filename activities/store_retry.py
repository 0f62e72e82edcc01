"""Retry store operations with backoff, so that an outage delays a Run instead of failing it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential

from callboard.schemas.errors import StoreError

ATTEMPT_STORE_TIMEOUT = timedelta(minutes=10)
"""How long an Attempt retries a store that fails for what it cannot do without, before its Run fails."""


async def retry_store[T](within: timedelta, work: Callable[[], Awaitable[T]]) -> T:
    """Return what `work` returns as soon as it raises no StoreError; after `within`, raise the last StoreError."""
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(StoreError),
        wait=wait_exponential(multiplier=0.2, max=15),
        stop=stop_after_delay(within),
        reraise=True,
    )
    async for attempt in retrying:
        with attempt:
            return await work()
    raise AssertionError("tenacity ends with a value or an exception")
