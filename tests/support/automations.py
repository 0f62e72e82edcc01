"""Files of a project whose APIs are a few lines each."""

from __future__ import annotations

from textwrap import dedent, indent


def automations(**bodies: str) -> dict[str, str]:
    """An API of each name. The body of its automation finds `page`, and `params` where there are parameters."""
    return {
        f"api/{name}.py": f"async def automation(page, params=None):\n{indent(dedent(body).strip(), '    ')}\n"
        for name, body in bodies.items()
    }


def connecting_hook(brings: str) -> dict[str, str]:
    """A hook that connects a client of its own to the browser, does this, and disconnects once the Attempt is over.

    What it does finds `browser` and `api_parameters`, and returns a context and a page, if any, with `cleanup`.
    """
    lines = indent(dedent(brings).strip(), "    ")
    return {"hooks/setup_context.py": f"{_CONNECTS}{lines}\n"}


_CONNECTS = """
from playwright.async_api import async_playwright

async def setup_context(*, api_name, api_parameters, cdp_url):
    playwright = await async_playwright().start()
    browser = await playwright.chromium.connect_over_cdp(cdp_url)

    async def cleanup():
        await browser.close()
        await playwright.stop()

"""
