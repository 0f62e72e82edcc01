import time

from recording import executed


async def automation(page, params, **_kwargs):
    with executed("api"):
        while True:
            time.sleep(1)
