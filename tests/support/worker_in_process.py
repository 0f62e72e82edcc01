"""A whole worker in this process, which a test looks into, or does something to.

Tests that need something of `worker.py` have it from here: nothing else imports it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import worker as worker_process
from callboard.settings import Settings
from callboard.storage.store import Store


@asynccontextmanager
async def serving(patch: pytest.MonkeyPatch, settings: Settings, store: Store) -> AsyncGenerator[asyncio.Event]:
    """A worker on this store, for as long as the block lasts, or until the event is set."""

    def opened(*_arguments: Any, **_options: Any) -> Store:
        return store

    patch.setattr(worker_process, "open_store", opened)
    stop = asyncio.Event()
    serving = asyncio.create_task(worker_process.serve(settings, stop))
    try:
        yield stop
    finally:
        stop.set()
        await asyncio.wait_for(serving, 60)
