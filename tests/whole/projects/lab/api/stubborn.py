import asyncio


async def automation(page, params=None, **_kwargs):
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
