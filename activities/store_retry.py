"""Repeat what the artifact store refused: a store that fails for a while costs time, not a Run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential

from schemas.errors import StoreError


async def retry_store[T](within: timedelta, work: Callable[[], Awaitable[T]]) -> T:
    """What `work` returns, as soon as there is no StoreError; after `within`, the last one is raised."""
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
