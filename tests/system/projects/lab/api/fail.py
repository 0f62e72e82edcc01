async def automation(page, params=None, **_kwargs):
    raise ValueError("the price is missing")
