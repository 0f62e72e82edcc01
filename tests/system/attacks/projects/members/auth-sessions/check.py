from bank import open_bank


async def check(page, **_kwargs):
    await open_bank(page)
    return "secret-of-" in await page.evaluate("document.cookie")
