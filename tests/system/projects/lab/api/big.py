async def automation(page, params, **_kwargs):
    return "x" * params["size"]
