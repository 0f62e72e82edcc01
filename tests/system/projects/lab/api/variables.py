import os


async def automation(page, params):
    return {name: os.environ.get(name) for name in params["names"]}
