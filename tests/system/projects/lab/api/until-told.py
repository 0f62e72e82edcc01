"""Waits until a file appears, and says that it began by making another: the test holds the reins."""

import asyncio
from pathlib import Path


async def automation(page, params, **_kwargs):
    Path(params["began"]).touch()
    while not Path(params["go"]).exists():
        await asyncio.sleep(0.02)
    return params.get("value")
