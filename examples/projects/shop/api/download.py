"""Download the shop's catalogue and say what is in it."""

import asyncio
import csv
from pathlib import Path
from typing import Annotated, Any, TypedDict

from playwright.async_api import Page
from utils.shop import base_url, go_to


class Params(TypedDict, total=False):
    baseUrl: Annotated[str, "The shop's address; by default that of the example site"]


async def automation(page: Page, params: Params | None = None, **_kwargs: Any) -> dict[str, Any]:
    await go_to(page, base_url(params or {}))
    async with page.expect_download() as started:
        await page.get_by_role("link", name="Download the catalogue").click()
    download = await started.value
    text = await asyncio.to_thread(Path(await download.path()).read_text, encoding="utf-8")
    header, *rows = csv.reader(text.splitlines())
    return {"file": download.suggested_filename, "header": header, "rows": len(rows)}
