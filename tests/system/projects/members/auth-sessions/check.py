async def check(page, **_kwargs):
    return True
