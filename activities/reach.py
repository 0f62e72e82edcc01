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
_ASK_EVERY = 5.0
_ANSWER_WITHIN = timedelta(seconds=3)


async def watch(client: Client, tickets: Tickets) -> None:
    """Ask Temporal how it is, until cancelled; interrupt all Attempts when it was silent for too long."""
    heard = time.monotonic()
    while True:
        try:
            await client.service_client.check_health(timeout=_ANSWER_WITHIN)
            heard = time.monotonic()
        except RPCError as error:
            silent = time.monotonic() - heard
            log.warning("Temporal has not answered for %.0f s: %s", silent, error.message)
            if silent >= LET_GO_AFTER.total_seconds() - _ASK_EVERY:
                tickets.interrupt_all(f"The worker could not reach Temporal for {silent:.0f} seconds.")
        await asyncio.sleep(_ASK_EVERY)
