import random

from recording import executed


async def check(page, **_kwargs):
    with executed("check"):
        cookies = await page.context.cookies("http://members.example")
        known = any(cookie["name"] == "login" for cookie in cookies)
        return known and random.random() < 0.9
