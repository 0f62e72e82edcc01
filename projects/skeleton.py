"""Creating a new project: a folder with everything that a project needs, and an API that runs."""

from __future__ import annotations

import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from schemas.errors import ProjectError

API_NAME = "hello"
"""Name of the new project's API."""

_SETTINGS = """\
// All settings: docs/projects.md of Callboard. Comments and trailing commas are fine.
{
  "projectName": "PROJECT_NAME",

  // Runs may be started over REST.
  "apiAccess": { "enabled": true },

  // How many Runs may execute at once: the number of Machines, each with a browser.
  "replication": { "maxConcurrentRequests": 1 },
}
"""

_CODE = '''\
"""Greet somebody on a page, and read the greeting from it."""

from html import escape
from typing import Any, TypedDict

from playwright.async_api import Page


class Params(TypedDict, total=False):
    name: str


async def automation(page: Page, params: Params | None = None, **_kwargs: Any) -> dict[str, str]:
    name = (params or {}).get("name", "world")
    # Where a real one begins: await page.goto("https://…")
    await page.set_content(f"<h1>Hello, {escape(name)}!</h1>")
    return {"greeting": await page.get_by_role("heading").inner_text()}
'''

_FILES = {
    "Intuned.jsonc": _SETTINGS,
    f"api/{API_NAME}.py": _CODE,
    f".parameters/api/{API_NAME}/default.json": '{ "name": "Ada" }\n',
    ".gitignore": ".env*\n.venv/\n__pycache__/\noutput/\n",
}


def write_skeleton(parent: Path, name: str) -> list[Path]:
    """Create the project `name` in a folder of that name below `parent`, and return its files.

    The files appear all at once or not at all, because a `callboard dev` may be watching. `parent` exists, and the name
    is one that `projects.settings.is_project_name` accepts.

    Raises:
        ProjectError: Something of that name exists already, or the folder cannot be created.
    """
    folder = parent / name
    beside = parent / f".{name}.new-{uuid.uuid4().hex}"
    try:
        folder.mkdir()  # The folder is ours from here on, so nobody else's is replaced.
    except FileExistsError:
        raise ProjectError(
            f"{folder} already exists and was left unchanged. Choose another name, or remove it."
        ) from None
    except OSError as error:
        raise ProjectError(f"{folder} cannot be created: {error.strerror}.") from error
    try:
        for path, text in _FILES.items():
            (beside / path).parent.mkdir(parents=True, exist_ok=True)
            (beside / path).write_text(text.replace("PROJECT_NAME", name), encoding="utf-8")
        beside.rename(folder)  # This replaces the empty folder.
    except BaseException as error:
        shutil.rmtree(beside, ignore_errors=True)
        with suppress(OSError):
            folder.rmdir()
        if isinstance(error, OSError):
            raise ProjectError(f"{folder} cannot be created: {error.strerror}.") from error
        raise
    return [folder / path for path in _FILES]
