async def automation(page, params=None, **_kwargs):
    return "nested/01-deep-name"
