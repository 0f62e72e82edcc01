"""What is installed in a project's own `.venv`: the folder itself is never bundled, its list of packages counts."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from projects.declaration import VENV, FrozenVenv, source_of_packages
from projects.threads import in_thread
from projects.uv import UvError, run_uv
from schemas.errors import ProjectError

_WITHIN = timedelta(seconds=60)
_VERSION = re.compile(r"^version(?:_info)?\s*=\s*(\d+\.\d+)", re.MULTILINE)


async def frozen_venv(folder: Path) -> FrozenVenv | None:
    """What is installed in `folder/.venv`; None if there is none, or nothing in it, or files declare dependencies.

    Raises:
        ProjectError: it cannot be read.
    """
    if await in_thread(_is_irrelevant, folder):
        return None
    try:
        # By its name in there: the folder may be one that is relative to where we are.
        listed = await run_uv("pip", "freeze", "--python", VENV, cwd=folder, within=_WITHIN)
    except UvError as error:
        raise ProjectError(
            f"{VENV}: what is installed in it cannot be read: {error}. Make it anew, remove it, or list the "
            "project's dependencies in requirements.txt."
        ) from error
    requirements = [line for line in listed.splitlines() if not _is_itself(line, folder) and not _is_tool(line)]
    if not requirements:
        return None
    version = _VERSION.search(await in_thread((folder / VENV / "pyvenv.cfg").read_text))
    if version is None:
        raise ProjectError(f"{VENV}: its pyvenv.cfg does not say which Python it is for. Make it anew, or remove it.")
    return FrozenVenv(python=version[1], requirements="\n".join([*requirements, ""]))


def _is_irrelevant(folder: Path) -> bool:
    return not (folder / VENV / "pyvenv.cfg").is_file() or source_of_packages(folder) is not None


def _is_itself(line: str, folder: Path) -> bool:
    """The project may be installed in its own environment; here it is found without that."""
    return line.partition("file://")[2] == str(folder.resolve())


def _is_tool(line: str) -> bool:
    """What stands in every environment that the venv module makes says nothing about the project."""
    return line.startswith("pip==")
