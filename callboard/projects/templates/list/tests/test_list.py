from callboard_runtime.pytest_plugin import RunApi
from playwright.async_api import Page, Route

PAGES = {
    "/": '<ul><li><a href="/oak">Oak</a></li></ul><a href="/2">Next</a>',
    "/2": '<ul><li><a href="/elm">Elm</a></li></ul>',
}


async def answer(route: Route) -> None:
    path = route.request.url.removeprefix("https://site.example")
    await route.fulfill(body=PAGES.get(path, ""), content_type="text/html")


async def test_reads_all_pages(run_api: RunApi, page: Page) -> None:
    await page.route("https://site.example/**", answer)
    run = await run_api("list", {"url": "https://site.example/"})
    assert run.result == [{"title": "Oak", "url": "/oak"}, {"title": "Elm", "url": "/elm"}]
