import asyncio

from intuned_runtime import extend_timeout


async def automation(page, params, **_kwargs):
    for _ in range(params["times"]):
        await asyncio.sleep(params["seconds"])
        extend_timeout()
    return "extended"
