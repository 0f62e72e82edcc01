"""A worker that cannot reach Temporal lets go of its Attempts before Temporal gives them to somebody else."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError

from activities.ticket import Tickets

log = logging.getLogger(__name__)

LET_GO_AFTER = timedelta(seconds=25)
"""Below the heartbeat timeout of 30 s, by the time that a teardown takes."""
ASK_EVERY = timedelta(seconds=5)
_ANSWER_WITHIN = timedelta(seconds=3)


async def watch(
    client: Client,
    tickets: Tickets,
    *,
    let_go_after: timedelta = LET_GO_AFTER,
    ask_every: timedelta = ASK_EVERY,
) -> None:
    """Ask Temporal how it is, until cancelled; interrupt all Attempts when it was silent for too long."""
    heard = time.monotonic()
    while True:
        reason = await _why_not_well(client)
        if reason is None:
            heard = time.monotonic()
        else:
            silent = timedelta(seconds=time.monotonic() - heard)
            log.warning("Temporal has not answered for %.0f s: %s", silent.total_seconds(), reason)
            # The next time may be too late.
            if silent >= let_go_after - ask_every:
                tickets.interrupt_all(f"The worker could not reach Temporal for {silent.total_seconds():.0f} seconds.")
        await asyncio.sleep(ask_every.total_seconds())


async def _why_not_well(client: Client) -> str | None:
    try:
        if await client.service_client.check_health(timeout=_ANSWER_WITHIN):
            return None
    except RPCError as error:
        return error.message or error.status.name.lower()
    return "it says that it does not serve"
