"""Keep an activity in touch with Temporal: heartbeats in one way for all, and an end in order when it is cancelled.

The SDK sends heartbeats in the background: it tells an activity neither that one was refused, nor a second time that
the activity is to end. A request of our own for a heartbeat tells both.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.activity import ActivityCancellationDetails
from temporalio.client import AsyncActivityCancelledError
from temporalio.service import RPCError, RPCStatusCode

from callboard.machines.uncancellable import uncancellable

log = logging.getLogger(__name__)

FIRST_HEARTBEAT = 1.0
"""Seconds before the first heartbeat. A shorter activity costs no request; and the SDK's worker must not stop while
the very first heartbeat of an activity is answered by "not found": it was seen to hang then."""
HEARTBEAT_INTERVAL = 10.0
"""Seconds between two heartbeats: each one costs an action in Temporal Cloud."""
SHORT_INTERVAL = 3.5
"""Seconds between two heartbeats of an activity that may be silent for less than half a minute: one may be lost."""
RETRY_INTERVAL = 1.0
"""Seconds until the next one if a heartbeat was not recorded."""
SILENCE_LIMIT = 26.0
"""Most seconds without a recorded heartbeat. Temporal gives an Attempt to another worker 30 seconds after the last one
that it has recorded, and to stop what runs on a Machine takes up to 3 seconds."""
_RPC_TIMEOUT = 5.0

OnCancellation = Callable[[ActivityCancellationDetails | None], None]
"""Callback that is told why an activity is to end; None if no reason was given."""
OnSilence = Callable[[str], None]
"""Callback that is told that Temporal is about to give the activity to another worker; its argument says why."""


@asynccontextmanager
async def heartbeats(
    on_cancellation: OnCancellation | None = None,
    *,
    details: Callable[[], Sequence[object]] = tuple,
    on_silence: OnSilence | None = None,
    interval: float | None = None,
) -> AsyncGenerator[None]:
    """Send heartbeats for as long as the block lasts.

    Args:
        on_cancellation: Is told why the activity is to end, perhaps several times. Leave it out for an activity that
            ends when the SDK cancels it.
        details: Gives the details to send; the next try of the activity gets the last ones.
        on_silence: Is told if no heartbeat was recorded for `SILENCE_LIMIT`, whether Temporal did not answer or refused
            it. Give it to an activity that must never run twice at the same time.
        interval: Seconds between two heartbeats, if not the usual ones. Each is a request of its own then, as the SDK
            sends none before most of the heartbeat timeout is over.
    """

    async def send_heartbeats() -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SILENCE_LIMIT
        await asyncio.sleep(FIRST_HEARTBEAT)
        while True:
            # Also if we ask ourselves: without it, the SDK cancels the activity at the end of the heartbeat timeout.
            # It sends one every 24 seconds.
            activity.heartbeat(*details())
            pause = HEARTBEAT_INTERVAL if interval is None else interval
            is_cancelled = on_cancellation is not None and activity.cancellation_details() is not None
            if interval is not None or on_silence is not None or is_cancelled:
                sent = loop.time()
                try:
                    reason = await record_heartbeat(*details(), within=min(_RPC_TIMEOUT, max(deadline - sent, 0.1)))
                except RPCError as error:
                    log.info("A heartbeat could not be recorded: %s", error.message)
                    pause = RETRY_INTERVAL
                    if on_silence is not None and loop.time() + pause >= deadline:
                        on_silence(error.message or error.status.name)
                else:
                    deadline = sent + SILENCE_LIMIT
                    if reason is not None and on_cancellation is not None:
                        on_cancellation(reason)
            await asyncio.sleep(pause)

    async with background_task(send_heartbeats(), "heartbeats"):
        yield


async def record_heartbeat(*details: object, within: float = _RPC_TIMEOUT) -> ActivityCancellationDetails | None:
    """Record a heartbeat by a request of its own, past the SDK's worker, and return why the activity is to end, if so.

    The details are recorded when this returns.

    Raises:
        RPCError: Temporal refused the heartbeat, or did not answer `within` these seconds.
    """
    handle = activity.client().get_async_activity_handle(task_token=activity.info().task_token)
    try:
        await handle.heartbeat(*details, rpc_timeout=timedelta(seconds=within))
    except AsyncActivityCancelledError as error:
        return error.details
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return ActivityCancellationDetails(not_found=True)
    return None


@asynccontextmanager
async def background_task(work: Coroutine[Any, Any, None], name: str) -> AsyncGenerator[None]:
    """Run `work` concurrently with the block; it is stopped and awaited when the block ends."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await uncancellable(asyncio.wait({task}))


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
