"""Interrupt the Attempts of a worker that cannot reach Temporal, before Temporal gives them to another worker."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError

from activities.attempts.running_attempts import RunningAttempts

log = logging.getLogger(__name__)

LET_GO_AFTER = timedelta(seconds=23.5)
"""Time without an answer after which Attempts are interrupted. Temporal gives an Attempt to another worker 30 s
after the last heartbeat that got through; that may be older than the last answer by the throttle of heartbeats, 5 s,
and a teardown takes up to 1.5 s."""
ASK_EVERY = timedelta(seconds=1)
ANSWER_WITHIN = timedelta(seconds=1)


async def watch(
    client: Client,
    running_attempts: RunningAttempts,
    *,
    let_go_after: timedelta = LET_GO_AFTER,
    ask_every: timedelta = ASK_EVERY,
    answer_within: timedelta = ANSWER_WITHIN,
) -> None:
    """Check Temporal's health until cancelled; interrupt all Attempts when it was silent for too long."""
    heard = time.monotonic()
    while True:
        reason = await _why_not_well(client, answer_within)
        if reason is None:
            heard = time.monotonic()
        else:
            silent = timedelta(seconds=time.monotonic() - heard)
            log.warning("Temporal has not answered for %.0f s: %s", silent.total_seconds(), reason)
            if silent + ask_every + answer_within > let_go_after:  # at the next check it would be too late
                running_attempts.interrupt_all(
                    f"The worker could not reach Temporal for {silent.total_seconds():.0f} seconds."
                )
        await asyncio.sleep(ask_every.total_seconds())


async def _why_not_well(client: Client, answer_within: timedelta) -> str | None:
    try:
        if await client.service_client.check_health(timeout=answer_within):
            return None
    except RPCError as error:
        return error.message or error.status.name.lower()
    return "it says that it does not serve"
