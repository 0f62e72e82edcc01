"""Download a file of comma-separated values, and return its rows."""

import csv
from pathlib import Path
from typing import Annotated, Any, TypedDict

from playwright.async_api import Page


class Params(TypedDict):
    url: Annotated[str, "Address of the page with the link"]


async def automation(page: Page, params: Params, **_kwargs: Any) -> list[dict[str, str]]:
    await page.goto(params["url"])
    async with page.expect_download() as started:
        await page.get_by_role("link", name="Download").click()
    download = await started.value
    path = Path(await download.path())
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
