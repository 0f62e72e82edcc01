from callboard_runtime.pytest_plugin import RunApi
from playwright.async_api import BrowserContext, Route

SITE = "https://site.example"


async def answer(route: Route) -> None:
    signed_in = "sid=1" in (await route.request.all_headers()).get("cookie", "")
    body = '<p aria-label="Name">Ada</p>' if signed_in else "<h1>Sign in</h1>"
    await route.fulfill(body=body, content_type="text/html")


async def test_reads_the_name_of_the_account(run_api: RunApi, context: BrowserContext) -> None:
    await context.route(f"{SITE}/**", answer)
    await context.add_cookies([{"name": "sid", "value": "1", "url": SITE}])
    run = await run_api("account", {"url": SITE})
    assert run.result == {"name": "Ada"}
