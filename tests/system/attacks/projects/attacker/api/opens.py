"""Opens addresses, each in a page of its own and by the driver, and returns what came of it."""

import asyncio


async def automation(page, params):
    told = {}

    async def visit(url):
        tab = await page.context.new_page()
        try:
            got = await tab.goto(url, timeout=5000)
            told[url] = f"reached: {got.status}"
        except Exception as error:
            told[url] = str(error).partition("\n")[0]
        finally:
            await tab.close()
        try:
            got = await page.request.get(url, timeout=5000)
            told[f"{url} by the driver"] = f"reached: {got.status}"
        except Exception as error:
            told[f"{url} by the driver"] = str(error)[:300]

    for start in range(0, len(params["urls"]), 6):
        await asyncio.gather(*map(visit, params["urls"][start : start + 6]))
    return told
