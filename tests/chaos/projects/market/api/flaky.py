import random

from recording import executed


async def automation(page, params, **_kwargs):
    with executed("api") as execution:
        if random.random() < 0.5:
            raise ValueError("the price is missing this time")
        return {"n": params["n"], "token": execution.token}
