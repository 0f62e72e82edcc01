"""Is signed in, and waits until it is canceled."""


async def automation(page, params):
    await page.context.add_cookies([{"name": "login", "value": params["login"], "url": "https://bank.test/"}])
    await page.wait_for_event("close", timeout=0)
