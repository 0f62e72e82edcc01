"""Work beside an Attempt, and cancels that reach it in one way only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from temporalio import activity

from activities.ticket import Cause, Ticket
from machines.persist import to_the_end

HEARTBEAT_EVERY = 5.0
_FIRST_HEARTBEAT = 1.0
"""Seconds. What is over sooner sends none: each is a request, and a write of Temporal's."""


@asynccontextmanager
async def heartbeats() -> AsyncGenerator[None]:
    """Say that we live. User code runs in another process and cannot hold this up."""

    async def beat() -> None:
        await asyncio.sleep(_FIRST_HEARTBEAT)
        while True:
            activity.heartbeat()
            await asyncio.sleep(HEARTBEAT_EVERY)

    async with beside(beat(), "heartbeats"):
        yield


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None], name: str) -> AsyncGenerator[None]:
    """Run `work` beside the block; it is stopped and awaited when the block ends."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await to_the_end(_ended(task))


async def passing_cancels_to[T](ticket: Ticket, course: Coroutine[Any, Any, T]) -> T:
    """Await `course`. A cancel by Temporal stops the Attempt by its ticket, and nothing else.

    So an outcome that is there when the cancel arrives stands, and what comes after the end, its record, is done.
    """
    task = asyncio.create_task(course)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.done():
                ticket.stop(*_cause_of_cancel())
        except Exception:  # noqa: BLE001  # raised below, by result()
            break
    return task.result()


def _cause_of_cancel() -> tuple[Cause, str]:
    details = activity.cancellation_details()
    if details is not None and details.cancel_requested:
        return Cause.CANCELED, ""
    if details is not None and (details.not_found or details.timed_out):
        return Cause.INTERRUPTED, "Temporal has given the Attempt up, as it did not hear from its worker."
    return Cause.INTERRUPTED, "The worker was stopped before the Attempt ended."


async def _ended(task: asyncio.Task[None]) -> None:
    await asyncio.wait({task})
