"""The work of every row of the table: open a page of 50 items and read them."""


async def automation(page, params, **_kwargs):
    await page.goto(params["url"])
    return await page.evaluate("[...document.querySelectorAll('li')].map(item => item.textContent)")
