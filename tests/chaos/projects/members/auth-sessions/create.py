from recording import executed


async def create(page, params=None, **_kwargs):
    with executed("create") as execution:
        await page.context.add_cookies(
            [{"name": "login", "value": execution.token, "url": "http://members.example", "expires": 4_000_000_000}]
        )
