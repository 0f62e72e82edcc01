import asyncio

from recording import executed


async def automation(page, params, **_kwargs):
    with executed("api") as execution:
        await asyncio.sleep(params["seconds"])
        return {"n": params["n"], "token": execution.token}
