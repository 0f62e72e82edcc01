"""Run work in the background of an activity, and let an activity that is cancelled come to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from temporalio import activity
from temporalio.activity import ActivityCancellationDetails

from machines.cancellation import uncancellable

OnCancellation = Callable[[ActivityCancellationDetails | None], None]
"""Callback that is told why an activity is to end; None if no reason was given."""


@asynccontextmanager
async def background_task(work: Coroutine[Any, Any, None], name: str) -> AsyncGenerator[None]:
    """Run `work` concurrently with the block; it is stopped and awaited when the block ends."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await uncancellable(_wait_for(task))


async def forward_cancellation[T](work: Awaitable[T], on_cancellation: OnCancellation) -> T:
    """Await `work` to its end, whatever the SDK cancels meanwhile; `on_cancellation` is told why, and decides.

    So an outcome that exists when the cancel arrives stands, and what has to follow the end, such as writing the
    record, is done.
    """
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.done():
                on_cancellation(activity.cancellation_details())
        except Exception:  # noqa: BLE001  # raised below, by result()
            break
    return task.result()


async def _wait_for(task: asyncio.Task[None]) -> None:
    await asyncio.wait({task})
