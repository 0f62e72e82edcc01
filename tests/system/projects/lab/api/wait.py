import asyncio
from pathlib import Path


async def automation(page, params, **_kwargs):
    if "began" in params:
        Path(params["began"]).touch()
    await asyncio.sleep(params["seconds"])
    return "waited"
