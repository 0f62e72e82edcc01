"""Tells whose logins it sees in contexts of the browser, and ends while others with its own login are being opened."""

import asyncio

MANY = 200


async def automation(page, params):
    browser = page.context.browser
    seen = [cookie["value"] for context in browser.contexts for cookie in await context.cookies()]
    state = {"cookies": await page.context.cookies(), "origins": []}
    opening = [asyncio.ensure_future(browser.new_context(storage_state=state)) for _ in range(MANY)]
    await page.title()  # they have been asked for
    for context in opening[: MANY // 2]:
        context.cancel()
    return seen
