from recording import executed


async def automation(page, params, **_kwargs):
    with executed("api"):
        raise ValueError("the price is missing")
