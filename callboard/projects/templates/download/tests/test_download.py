from callboard_runtime.pytest_plugin import RunApi
from playwright.async_api import Page, Route


async def answer(route: Route) -> None:
    if route.request.url.endswith(".csv"):
        await route.fulfill(body="name,price\nOak,9\n", headers={"content-disposition": "attachment"})
    else:
        await route.fulfill(body='<a href="/prices.csv">Download</a>', content_type="text/html")


async def test_returns_the_rows_of_the_file(run_api: RunApi, page: Page) -> None:
    await page.route("https://site.example/**", answer)
    run = await run_api("download", {"url": "https://site.example/"})
    assert run.result == [{"name": "Oak", "price": "9"}]
