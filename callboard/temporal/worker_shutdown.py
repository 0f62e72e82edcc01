"""Stop Temporal workers in bounded time, even when the SDK's own shutdown hangs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio.worker import Worker

log = logging.getLogger(__name__)

SHUTDOWN_MARGIN = timedelta(seconds=10)
"""How long a worker may take to stop beyond the grace period of its activities: they are canceled by then, and
record how they ended. `graceful_shutdown_timeout` bounds that grace period alone, and not the shutdown."""


@asynccontextmanager
async def running_worker(worker: Worker, *, margin: timedelta = SHUTDOWN_MARGIN) -> AsyncGenerator[None]:
    """Run a worker for as long as the block lasts, and stop it within `margin` beyond the grace of its activities.

    A worker that does not stop in time is left behind, and the log says so. Its tasks and threads may never end, so the
    process must end by `callboard.temporal.hard_exit.hard_exit`, which waits for nothing.

    Raises:
        Exception: The error that made the worker fail for good. The block is cancelled then.
    """
    await worker.__aenter__()
    raised: BaseException | None = None
    try:
        yield
    except BaseException as error:
        raised = error
        raise
    finally:
        grace = worker.config()["graceful_shutdown_timeout"]  # pyright: ignore[reportTypedDictNotRequiredAccess]
        timeout = grace + margin
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                await worker.__aexit__(type(raised) if raised else None, raised, raised and raised.__traceback__)
        except TimeoutError:
            log_left_behind(worker, timeout)


def log_left_behind(worker: Worker, timeout: timedelta) -> None:
    """Log that a worker has not stopped in time."""
    log.error(
        "The Temporal worker of task queue %s has not stopped within %g seconds. It is left behind, and this process"
        " will end without it. Temporal takes what it has not reported as lost.",
        worker.task_queue,
        timeout.total_seconds(),
    )
