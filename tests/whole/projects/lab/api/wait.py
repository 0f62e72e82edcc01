import asyncio


async def automation(page, params, **_kwargs):
    await asyncio.sleep(params["seconds"])
    return "waited"
