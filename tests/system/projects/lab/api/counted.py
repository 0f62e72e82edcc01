"""Notes every start of itself in a folder of the test, then waits for the test's word, or for some seconds."""

import asyncio
import os
import uuid
from pathlib import Path


async def automation(page, params, **_kwargs):
    folder = Path(params["folder"])
    (folder / f"{params['n']}-{os.getpid()}-{uuid.uuid4().hex}").touch()
    await page.goto("data:text/html,<title>here</title>")
    if "seconds" in params:
        await asyncio.sleep(params["seconds"])
    else:
        while not (folder / "go").exists():
            await asyncio.sleep(0.02)
    return {"n": params["n"], "title": await page.title()}
