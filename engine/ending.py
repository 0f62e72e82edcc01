"""Waiting for the end of a workflow."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.client import WorkflowHandle

LISTEN = 2.0
"""Seconds of one wait. Of an end that comes just then, a busy server can lose the news on its way to who waits, and
answers only after twenty, as if there were none. Whoever asks anew is told at once."""


async def result_of[T](handle: WorkflowHandle[Any, T], *, follow_runs: bool = True) -> T:
    """What the workflow returns, as soon as it has ended. Errors and `follow_runs` are those of `handle.result`."""
    while True:
        try:
            async with asyncio.timeout(LISTEN):
                return await handle.result(follow_runs=follow_runs)
        except TimeoutError:
            continue
