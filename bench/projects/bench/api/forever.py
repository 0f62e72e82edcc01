"""Waits until it is canceled, and leaves a file that says it began."""

import asyncio
import tempfile
from pathlib import Path

from intuned_runtime import run_info


async def automation(page, params=None, **_kwargs):
    Path(tempfile.gettempdir(), run_info().run_id).touch()
    await asyncio.Event().wait()
