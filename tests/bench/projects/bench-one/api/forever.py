"""Waits until it is canceled, or times out."""

import asyncio


async def automation(page, params, **_kwargs):
    await page.goto(params["url"])
    await asyncio.Event().wait()
