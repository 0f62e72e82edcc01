"""What keeps people from using a page: findings of axe, and a page that is wider than its screen."""

from __future__ import annotations

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

WIDTHS = (1280, 390)
"""A desktop's and a phone's."""


async def problems_of(page: Page, path: str, *, scan_at: int) -> list[str]:
    """Return what is wrong with a page on both screens; axe, which takes seconds, scans it on the one of this width."""
    await page.goto(path)
    problems: list[str] = []
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 844})
        if width == scan_at:
            problems += await serious_findings(page)
        wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            problems.append(f"{path} is {wide} px wider than a screen of {width}")
    return problems


async def serious_findings(page: Page) -> list[str]:
    """Return what axe finds that is serious, or worse; targets too small to be hit (WCAG 2.5.8) are."""
    # Pages let no code in but their own; the tool is put in beside that.
    found = await Axe().run(page, options={"rules": {"target-size": {"enabled": True}}})
    return [
        f"{page.url} {each['id']}: {[node['html'][:150] for node in each['nodes'][:3]]}"
        for each in found.response["violations"]
        if each["impact"] in {"serious", "critical"}
    ]
