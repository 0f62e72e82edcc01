"""The zygote of user code in Python: it has imported what that needs, and a fork of it calls that at once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from playwright.async_api import Error as PlaywrightError

from . import user_process, zygote
from .imports import Imports
from .playwright_wire import Attached


class PythonCode:
    """User code in Python."""

    def __init__(self, packages: Path | None, *, guarded: bool) -> None:
        self._imports = Imports(packages)
        self._guarded = guarded

    def warm(self, browser: socket.socket) -> None:
        """Use Playwright once. Raises PlaywrightError: the browser is gone."""
        asyncio.run(_use(browser))
        self._imports.freeze()

    def import_ahead(self, names: Iterable[str], variables: frozenset[str]) -> Iterable[str]:
        """Import modules of the project's own packages."""
        self._imports.ahead(names, variables)
        return self._imports.read

    def run(self, control: int, browser: int, stacks: int) -> NoReturn:
        """Be the process of user code."""
        imports = self._imports
        user_process.main(
            control, browser, stacks, guarded=self._guarded, reseed=imports.reseed, imported=imports.since
        )


def main(fd: int, packages: Path | None) -> None:
    """Serve the supervisor over the socket `fd`. `packages` is the folder of the project's own packages, if any."""

    def begin(setup: dict[str, Any]) -> PythonCode:
        return PythonCode(packages, guarded=setup["guarded"])

    # Where the browser or the supervisor is gone, the supervisor says why, and its words must be the last ones.
    with contextlib.suppress(PlaywrightError, ConnectionError):
        zygote.serve(fd, begin)


async def _use(end: socket.socket) -> None:
    """Use what every automation uses, so that its code is loaded before the first fork.

    Once is enough: to do it again makes no Attempt cheaper, and costs processor time of the driver.
    """
    attached = await Attached.over(end)
    context = await attached.browser.new_context()
    page = await context.new_page()
    await page.goto("data:text/html,<li>1</li>")
    await page.evaluate("() => [1, 'a', {b: 2}]")
    await page.locator("li").count()
    await context.close()
    await attached.close()
