from recording import executed


async def automation(page, params, **_kwargs):
    with executed("api") as execution:
        await page.set_content(f"<title>{execution.token}</title>")
        return {"n": params["n"], "token": await page.title()}
