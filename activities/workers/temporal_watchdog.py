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

INTERRUPT_AFTER = timedelta(seconds=23.5)
"""Longest time without an answer: a check that would leave a longer one until the next check ends interrupts all
Attempts. Temporal gives an Attempt to another worker 30 s after the last heartbeat that got through; that may be older
than the last answer by the throttle of heartbeats, 5 s, and a teardown takes up to 1.5 s."""
CHECK_INTERVAL = timedelta(seconds=1)
CHECK_TIMEOUT = timedelta(seconds=1)


async def watch(
    client: Client,
    running_attempts: RunningAttempts,
    *,
    interrupt_after: timedelta = INTERRUPT_AFTER,
    check_interval: timedelta = CHECK_INTERVAL,
    check_timeout: timedelta = CHECK_TIMEOUT,
) -> None:
    """Check Temporal's health until cancelled; interrupt all Attempts when it was silent for too long."""
    last_answer = time.monotonic()
    while True:
        reason = await _health_problem(client, check_timeout)
        if reason is None:
            last_answer = time.monotonic()
        else:
            silent = timedelta(seconds=time.monotonic() - last_answer)
            log.warning("Temporal has not answered for %.0f s: %s", silent.total_seconds(), reason)
            if silent + check_interval + check_timeout > interrupt_after:  # at the next check it would be too late
                running_attempts.interrupt_all(
                    f"The worker could not reach Temporal for {silent.total_seconds():.0f} seconds."
                )
        await asyncio.sleep(check_interval.total_seconds())


async def _health_problem(client: Client, check_timeout: timedelta) -> str | None:
    try:
        if await client.service_client.check_health(timeout=check_timeout):
            return None
    except RPCError as error:
        return error.message or error.status.name.lower()
    return "it says that it does not serve"
