async def check(page, **_):
    """A login is good as long as its cookie is not the word "expired"."""
    return any(cookie["name"] == "login" and cookie["value"] != "expired" for cookie in await page.context.cookies())
