"""Send heartbeats in one way for all activities, and hear of cancellations that the SDK does not pass on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio import activity
from temporalio.activity import ActivityCancellationDetails
from temporalio.client import AsyncActivityCancelledError
from temporalio.service import RPCError, RPCStatusCode

from activities.background import OnCancellation, background_task

log = logging.getLogger(__name__)

FIRST_HEARTBEAT = 1.0
"""Seconds before the first heartbeat. A shorter activity costs no request; and the SDK's worker must not stop while
the very first heartbeat of an activity is answered by "not found": it was seen to hang then."""
HEARTBEAT_INTERVAL = 5.0
"""Seconds between two heartbeats."""
_RPC_TIMEOUT = timedelta(seconds=5)


@asynccontextmanager
async def heartbeats(
    on_cancellation: OnCancellation | None = None, *, details: Callable[[], Sequence[object]] = tuple
) -> AsyncGenerator[None]:
    """Send heartbeats for as long as the block lasts.

    The SDK tells an activity only once that it is to end. So an activity that goes on after a pause would not hear of
    its cancellation or reset, nor that its workflow is gone. From then on each heartbeat is a request of its own, whose
    answer says so.

    Args:
        on_cancellation: Is told why the activity is to end, perhaps several times. Leave it out for an activity that
            ends when the SDK cancels it.
        details: Gives the details to send; the next try of the activity gets the last ones.
    """

    async def send_heartbeats() -> None:
        await asyncio.sleep(FIRST_HEARTBEAT)
        while True:
            if activity.cancellation_details() is None:
                activity.heartbeat(*details())
            elif on_cancellation is not None and (reason := await record_heartbeat(*details())):
                on_cancellation(reason)
            await asyncio.sleep(HEARTBEAT_INTERVAL)

    async with background_task(send_heartbeats(), "heartbeats"):
        yield


async def record_heartbeat(*details: object) -> ActivityCancellationDetails | None:
    """Record a heartbeat by a request of its own, past the SDK's worker, and return why the activity is to end.

    The details are recorded when this returns. If the server does not answer, the reason is unknown, and None is
    returned.
    """
    handle = activity.client().get_async_activity_handle(task_token=activity.info().task_token)
    try:
        await handle.heartbeat(*details, rpc_timeout=_RPC_TIMEOUT)
    except AsyncActivityCancelledError as error:
        return error.details
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return ActivityCancellationDetails(not_found=True)
        log.info("A heartbeat could not be recorded: %s", error.message)
    return None
