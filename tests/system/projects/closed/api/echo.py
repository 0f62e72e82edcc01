async def automation(page, params=None, **_kwargs):
    return params
