async def automation(page, params=None, **_kwargs):
    while True:
        pass
