"""Greet somebody on a page, and read the greeting from it."""

from html import escape
from typing import Annotated, Any, TypedDict

from playwright.async_api import Page


class Params(TypedDict, total=False):
    name: Annotated[str, "Whom to greet; by default the world"]


async def automation(page: Page, params: Params | None = None, **_kwargs: Any) -> dict[str, str]:
    name = (params or {}).get("name", "world")
    # Where a real one begins: await page.goto("https://…")
    await page.set_content(f"<h1>Hello, {escape(name)}!</h1>")
    return {"greeting": await page.get_by_role("heading").inner_text()}
