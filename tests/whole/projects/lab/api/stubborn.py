import asyncio
import contextlib


async def automation(page, params=None, **_kwargs):
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
