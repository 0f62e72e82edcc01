import os


async def automation(page, params=None, **_kwargs):
    os._exit(3)
