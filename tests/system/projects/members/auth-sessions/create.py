async def create(page, params=None, **_kwargs):
    return None
