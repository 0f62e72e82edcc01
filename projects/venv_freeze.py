"""Listing the packages in a project's own `.venv`. The folder is never bundled; only its list of packages counts.

Nothing of it is executed: its interpreter may be anything.
"""

from __future__ import annotations

import json
import re
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from projects.declaration import VENV, FrozenVenv, find_package_source
from projects.processes import run_in_thread
from schemas.errors import ProjectError

_VERSION = re.compile(r"^version(?:_info)?\s*=\s*(\d+\.\d+)", re.MULTILINE)


async def freeze_venv(folder: Path) -> FrozenVenv | None:
    """Return the packages installed in `folder/.venv`.

    Return None if there is no `.venv`, if it has no packages, or if files declare the project's dependencies.

    Raises:
        ProjectError: The `.venv` cannot be read.
    """
    if await run_in_thread(_has_no_venv_dependencies, folder):
        return None
    listed = await run_in_thread(_list_installed, folder / VENV)
    requirements = [line for line in listed if not _is_itself(line, folder) and not _is_tool(line)]
    if not requirements:
        return None
    version = _VERSION.search(await run_in_thread((folder / VENV / "pyvenv.cfg").read_text))
    if version is None:
        raise ProjectError(f"{VENV}: its pyvenv.cfg does not say which Python it is for. Make it anew, or remove it.")
    return FrozenVenv(python=version[1], requirements="\n".join([*requirements, ""]))


def _has_no_venv_dependencies(folder: Path) -> bool:
    return not (folder / VENV / "pyvenv.cfg").is_file() or find_package_source(folder) is not None


def _list_installed(venv: Path) -> list[str]:
    """Return exact requirements of all that is installed, sorted by name."""
    places = [str(place) for place in venv.glob("lib/python3.*/site-packages")]
    if not places:
        raise ProjectError(
            f"{VENV}: what is installed in it cannot be read: there is no lib/python3.*/site-packages in it. Make it "
            "anew, remove it, or list the project's dependencies in requirements.txt."
        )
    found = {canonicalize_name(each.name): each for each in distributions(path=places) if each.metadata["Name"]}
    return [_requirement(name, found[name]) for name in sorted(found)]


def _requirement(name: str, installed: Distribution) -> str:
    """Return the requirement of what is installed, as pip and uv freeze it (PEP 610 says where it came from)."""
    origin: dict[str, Any] = json.loads(installed.read_text("direct_url.json") or "{}")
    url = origin.get("url")
    if url is None:
        return f"{name}=={installed.version}"
    if origin.get("dir_info", {}).get("editable"):
        return f"-e {url}"
    if (vcs := origin.get("vcs_info")) is not None:
        url = f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
    below = f"#subdirectory={origin['subdirectory']}" if "subdirectory" in origin else ""
    return f"{name} @ {url}{below}"


def _is_itself(line: str, folder: Path) -> bool:
    """Tell whether the line is the project itself, which need not be installed in its environment here."""
    return line.partition("file://")[2] == str(folder.resolve())


def _is_tool(line: str) -> bool:
    """Tell whether the line is a tool that the venv module puts into every environment, and so no dependency."""
    return line.startswith("pip==")
