"""Leaves a second window open and a downloaded file behind."""

PAGE = """
<title>first</title>
<a id="window" target="_blank" href="about:blank">another window</a>
<a id="file" download="list.txt" href="data:text/plain,some%20text">a file</a>
"""


async def automation(page, params=None, **_kwargs):
    await page.set_content(PAGE)
    async with page.expect_popup() as opened:
        await page.click("#window")
    second = await opened.value
    async with page.expect_download() as begun:
        await page.click("#file")
    text = (await (await begun.value).path()).read_text()
    return {"windows": len(page.context.pages), "url": second.url, "text": text}
