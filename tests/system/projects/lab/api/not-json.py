async def automation(page, params=None, **_kwargs):
    return {"page": page}
