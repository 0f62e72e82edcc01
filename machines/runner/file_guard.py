"""Files that user code has Playwright's driver read or write: those in the folder of its Attempt, and no others.

The driver acts for whoever speaks to it, in a box of its own. Files that lie elsewhere are sent over the connection by
the client in the process of user code (see `playwright_wire`), as far as Playwright can do that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

_REFUSED = (
    "Playwright's driver can use files in the automation's own folder only, and {path} is not there. Name an absolute"
    " path below the working folder, or below tempfile.gettempdir()."
)


_NAMING = frozenset({"saveAs", "harOpen", "harStart", "setInputFiles", "drop", "newContext"})
"""Methods of Playwright's protocol that name files of the driver's host."""


def refusal(method: str, params: dict[str, Any], folder: str) -> str | None:
    """Say why a call to the driver is refused because of a file that it names; None if it is not refused."""
    for path in _named(method, params):
        if not is_inside(path, folder):
            return _REFUSED.format(path=path)
    return None


def is_inside(path: str, folder: str) -> bool:
    """Tell whether a path leads into a folder, also where it is a link."""
    return os.path.realpath(path).startswith(f"{os.path.realpath(folder)}/")


def _named(method: str, params: dict[str, Any]) -> Iterator[str]:
    """Yield the paths in a call to the driver."""
    if method not in _NAMING:
        return
    options: dict[str, Any] = params.get("options") or {}
    video: dict[str, Any] = params.get("recordVideo") or {}
    local: list[Any] = params.get("localPaths") or []
    found: dict[str, list[Any]] = {
        "saveAs": [params.get("path")],
        "harOpen": [params.get("file")],
        "harStart": [options.get("harPath"), options.get("resourcesDir")],
        "setInputFiles": [params.get("localDirectory"), *local],
        "drop": local,
        "newContext": [video.get("dir")],
    }
    yield from (path for path in found[method] if isinstance(path, str))
