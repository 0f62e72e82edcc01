from recording import executed

SITE = "http://members.example"


async def automation(page, params, **_kwargs):
    with executed("api") as execution:
        cookies = await page.context.cookies(SITE)
        login = next((cookie["value"] for cookie in cookies if cookie["name"] == "login"), None)
        return {"n": params["n"], "token": execution.token, "login": login}
