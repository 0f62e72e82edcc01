"""What the browser tells by its own protocol, and by the files in its profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from playwright.async_api import CDPSession


async def send(session: CDPSession, method: str, **parameters: Any) -> dict[str, Any]:
    """Send a command to the browser, and return the result."""
    return cast("dict[str, Any]", await session.send(method, parameters))  # pyright: ignore[reportUnknownMemberType]


async def user_agent(session: CDPSession) -> str:
    """Return the user agent of the browser as if it had windows (docs/contract.md, section 4.4).

    Sites refuse a browser that calls itself headless, though it is the same one.
    """
    return str((await send(session, "Browser.getVersion"))["userAgent"]).replace("HeadlessChrome", "Chrome")


def debugging_address(temporary: Path) -> str:
    """Return the address at which the browser listens for clients.

    The browser writes it into its profile, which lies in the folder `temporary`.

    Raises:
        FileNotFoundError: The browser has not written it, and never will, as launching has waited for the browser.
    """
    for file in temporary.glob("*/DevToolsActivePort"):
        port, path = file.read_text().split()
        return f"ws://127.0.0.1:{port}{path}"
    raise FileNotFoundError("the browser did not say where its debugging port is")
