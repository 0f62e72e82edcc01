"""Shows a page that changes with each key, until its Run is canceled."""

import asyncio

PAGE = "<body onkeydown='document.body.style.background = `hsl(${Math.random() * 360} 90% 50%)`'>"


async def automation(page, params, **_kwargs):
    await page.set_content(PAGE)
    await asyncio.Event().wait()
