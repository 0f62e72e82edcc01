"""Check of the login in one step in the browser: the page says whether it knows the cookie."""

from intuned_runtime import get_auth_session_parameters


async def check(page, **_kwargs):
    parameters = await get_auth_session_parameters()
    answer = await page.goto(parameters["url"] + "account")
    return answer.ok
