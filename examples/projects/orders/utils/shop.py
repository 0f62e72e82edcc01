"""What the files of this project share: where the shop is, and how its pages are opened."""

from collections.abc import Mapping

from playwright.async_api import Page

DEFAULT_BASE_URL = "http://127.0.0.1:8401"


def base_url(params: Mapping[str, object]) -> str:
    """The address of the shop, without a slash at its end."""
    return str(params.get("baseUrl", DEFAULT_BASE_URL)).rstrip("/")


async def go_to(page: Page, url: str) -> None:
    """Open `url`; an answer with an error status is an error, so that there is another try."""
    print(f"opening {url}")
    response = await page.goto(url)
    if response is None or not response.ok:
        status = "no answer" if response is None else f"{response.status} {response.status_text}"
        raise RuntimeError(f"{url} answered {status}")
