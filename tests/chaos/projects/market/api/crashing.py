import os

from recording import executed


async def automation(page, params, **_kwargs):
    with executed("api"):
        os._exit(3)
