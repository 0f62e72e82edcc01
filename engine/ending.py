"""Waiting for the end of a workflow."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.client import WorkflowHandle

LISTEN = 0.5
LONGEST = 5.0
"""Seconds of the first wait, each of the next twice as long as the last, and of the longest. Of an end that comes just
then, a busy server can lose the news on its way to who waits, and answers only after twenty, as if there were none.
Whoever asks anew is told at once."""


async def result_of[T](handle: WorkflowHandle[Any, T], *, follow_runs: bool = True) -> T:
    """What the workflow returns, as soon as it has ended. Errors and `follow_runs` are those of `handle.result`."""
    wait = LISTEN
    while True:
        try:
            async with asyncio.timeout(wait):
                return await handle.result(follow_runs=follow_runs)
        except TimeoutError:
            wait = min(2 * wait, LONGEST)
