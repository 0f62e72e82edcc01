"""Logs in to the bench's page, which gives a cookie to whoever asks."""


async def create(page, params, **_kwargs):
    await page.goto(params["url"] + "login")
