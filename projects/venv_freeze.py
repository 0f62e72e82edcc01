"""Listing the packages in a project's own `.venv`. The folder is never bundled; only its list of packages counts."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from projects.declaration import VENV, FrozenVenv, find_package_source
from projects.threads import run_in_thread
from projects.uv import UvError, run_uv
from schemas.errors import ProjectError

_TIMEOUT = timedelta(seconds=60)
_VERSION = re.compile(r"^version(?:_info)?\s*=\s*(\d+\.\d+)", re.MULTILINE)


async def freeze_venv(folder: Path) -> FrozenVenv | None:
    """Return the packages installed in `folder/.venv`.

    Return None if there is no `.venv`, if it has no packages, or if files declare the project's dependencies.

    Raises:
        ProjectError: The `.venv` cannot be read.
    """
    if await run_in_thread(_has_no_venv_dependencies, folder):
        return None
    try:
        # The `.venv` is named relative to cwd, because the path of `folder` may itself be a relative one.
        listed = await run_uv("pip", "freeze", "--python", VENV, cwd=folder, timeout=_TIMEOUT)
    except UvError as error:
        raise ProjectError(
            f"{VENV}: what is installed in it cannot be read: {error}. Make it anew, remove it, or list the "
            "project's dependencies in requirements.txt."
        ) from error
    requirements = [line for line in listed.splitlines() if not _is_itself(line, folder) and not _is_tool(line)]
    if not requirements:
        return None
    version = _VERSION.search(await run_in_thread((folder / VENV / "pyvenv.cfg").read_text))
    if version is None:
        raise ProjectError(f"{VENV}: its pyvenv.cfg does not say which Python it is for. Make it anew, or remove it.")
    return FrozenVenv(python=version[1], requirements="\n".join([*requirements, ""]))


def _has_no_venv_dependencies(folder: Path) -> bool:
    return not (folder / VENV / "pyvenv.cfg").is_file() or find_package_source(folder) is not None


def _is_itself(line: str, folder: Path) -> bool:
    """Tell whether the line is the project itself, which need not be installed in its environment here."""
    return line.partition("file://")[2] == str(folder.resolve())


def _is_tool(line: str) -> bool:
    """Tell whether the line is a tool that the venv module puts into every environment, and so no dependency."""
    return line.startswith("pip==")
