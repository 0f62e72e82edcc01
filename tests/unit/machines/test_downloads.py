"""How downloads that cannot be kept are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from callboard_runtime.downloads import Downloads
from playwright.async_api import Error as PlaywrightError


class _Failed:
    suggested_filename = "prices.csv"

    def __init__(self, message: str) -> None:
        self._message = message

    async def path(self) -> Path:
        raise PlaywrightError(self._message)


async def test_a_page_that_begins_very_many_gets_few_of_them_named(tmp_path: Path) -> None:
    downloads = Downloads(tmp_path)
    for message in ("", *["canceled\nCall log:"] * 1_200):
        download: Any = _Failed(message)
        downloads.keep(download)
    await downloads.wait(10)
    first, *others, more = downloads.end()
    assert first == "prices.csv (a download that failed: )"
    assert others == ["prices.csv (a download that failed: canceled)"] * 4
    assert more == "1,196 more downloads"
