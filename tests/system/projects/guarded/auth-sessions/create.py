import asyncio
import uuid
from pathlib import Path


async def create(page, params, **_):
    """A login that is told what to do, and notes each of its tries."""
    if folder := params.get("folder"):
        Path(folder, f"create-{uuid.uuid4().hex}").touch()
        while not Path(folder, "go").exists():
            await asyncio.sleep(0.02)
    if params.get("fail"):
        raise RuntimeError(f"the site does not take {params['password']}")
    await page.context.add_cookies(
        [{"name": "login", "value": params["password"], "url": "http://127.0.0.1/", "httpOnly": True}]
    )
