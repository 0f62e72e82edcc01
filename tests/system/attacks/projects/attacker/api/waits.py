"""Waits until it is canceled."""


async def automation(page, params=None):
    await page.wait_for_event("close", timeout=0)
