"""A site that nobody has to serve, as its pages are given to the browser by the automation."""

ADDRESS = "https://bank.test/"


async def answer(route):
    await route.fulfill(body="<title>bank</title>", content_type="text/html")


async def open_bank(page):
    await page.route("**/*", answer)
    await page.goto(ADDRESS)
