"""The dependencies that a project declares: its packages, and the Python versions that it supports.

The first of these sources that declares anything counts: `dependencies` in `pyproject.toml`, then `requirements.txt`,
then the packages installed in the project's own `.venv`. A project that declares nothing has no environment of its own.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions, version
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from callboard.projects.manifest import DeployWarning, OwnEnvironment
from callboard.projects.reading import reading
from callboard.schemas.errors import ProjectError
from callboard.schemas.workflow.deploy import FrozenVenv

PYPROJECT = "pyproject.toml"
REQUIREMENTS = "requirements.txt"
LOCK = "uv.lock"
PLAYWRIGHT = "playwright"
VENV = ".venv"
VENV_MARK = "made-by-callboard"
"""Name of a file in a `.venv` that Callboard has made from the declaration, and that therefore declares nothing."""
FROZEN = "frozen-by-callboard.txt"
"""Name of a file in the `.venv` of an upload: it lists what is installed in the `.venv`, in place of the packages."""

_LARGEST_PYPROJECT = 1024 * 1024
"""Most bytes of a `pyproject.toml`. It is written by hand, and its parser takes seconds for a megabyte."""
_INCLUDE = re.compile(r"(?:-r|-c|--requirement|--constraint)[\s=]*(?P<file>[^\s#]+)")
_INDEX = re.compile(
    r"(?P<option>-i|--index-url|--extra-index-url|-f|--find-links|--no-index)\b[\s=]*(?P<value>[^\s#]*)"
)

_TOOLS = ("pip", "callboard-runtime")
_PYTHON_OF_VENV = re.compile(r"^version(?:_info)?\s*=\s*(\d+\.\d+)", re.MULTILINE)
_RUNTIME = re.compile(r"\bintuned[-_.]runtime\b", re.IGNORECASE)


@dataclass(frozen=True)
class Declaration:
    """The dependencies that one project declares."""

    source: str
    """Source of the declaration: `pyproject.toml`, `requirements.txt` or `.venv`."""
    requires_python: str | None
    digest: str
    """Hash of the declaration; equal declarations have equal digests."""


def read_declaration(folder: Path, frozen: FrozenVenv | None = None) -> Declaration | None:
    """Return the declaration of the project in `folder`, with this `.venv` if any; None if it declares nothing.

    Raises:
        ProjectError: A file is not in the format that its name promises.
    """
    requires = _read_requires_python(folder)
    source = find_package_source(folder)
    if source == PYPROJECT:
        contents = _read_files(folder, [PYPROJECT, LOCK])
    elif source == REQUIREMENTS:
        contents = _read_files(folder, [*list_requirement_files(folder), PYPROJECT])
    elif frozen is not None:
        source, contents = VENV, [frozen.python, frozen.requirements]
        requires = requires or f"=={frozen.python}.*"
    elif requires is not None and not satisfies(platform.python_version(), SpecifierSet(requires)):
        source, contents = PYPROJECT, _read_files(folder, [PYPROJECT])
    else:
        return None
    digest = hashlib.sha256()
    if any(_RUNTIME.search(part) for part in contents):
        # A new digest invalidates lists that were stored before they included the dependencies of intuned-runtime.
        contents = [*contents, "with what intuned-runtime requires"]
    for part in (source, *contents):
        digest.update(f"{len(part)}\0{part}\0".encode("utf-8", "surrogateescape"))
    return Declaration(source=source, requires_python=requires, digest=digest.hexdigest())


def name_environment(declaration: Declaration | None) -> OwnEnvironment | None:
    """Return the environment of a project with this declaration; None if it declares none."""
    return declaration and OwnEnvironment(
        source=declaration.source,
        requires_python=declaration.requires_python,
        declaration=f"{declaration.digest[:32]}-{pinned_playwright().replace('==', '-')}",
    )


def pinned_playwright() -> str:
    """Return the requirement that holds Playwright at our version."""
    return f"{PLAYWRIGHT}=={version(PLAYWRIGHT)}"


def satisfies(version: str, requires: SpecifierSet) -> bool:
    """Tell whether an interpreter of this version meets what a project requires."""
    return requires.contains(version, prereleases=True)


def find_package_source(folder: Path) -> str | None:
    """Return the name of the file that declares packages, or None if no file does.

    Raises:
        ProjectError: A file is not in the format that its name promises.
    """
    project = _get_table(_read_toml(folder), "project")
    if project.get("dependencies") or "dependencies" in project.get("dynamic", ()):
        return PYPROJECT
    return REQUIREMENTS if list_requirement_files(folder) else None


def check_declaration(folder: Path) -> list[DeployWarning]:
    """Return one warning for each thing that looks like a declaration but is not read as one."""
    poetry = _get_table(_read_toml(folder), "tool", "poetry", "dependencies")
    if find_package_source(folder) is not None or set(poetry) <= {"python"}:
        return []
    message = "dependencies for Poetry are not read; list them as dependencies of [project], or in requirements.txt"
    return [DeployWarning(file=PYPROJECT, message=message)]


def list_requirement_files(folder: Path) -> list[str]:
    """Return `requirements.txt` and the files that it includes, as paths below `folder`.

    The list is empty if they require nothing.
    """
    files, known, requires = [REQUIREMENTS], {REQUIREMENTS}, False
    for name in files:
        for line in _requirement_lines(folder / name):
            requires = requires or not line.startswith("-") or line.startswith(("-e", "--editable"))
            if include := _INCLUDE.match(line):
                included = (Path(name).parent / include["file"]).as_posix()
                if included not in known:
                    known.add(included)
                    files.append(included)
    return [name for name in files if (folder / name).is_file()] if requires else []


def read_index_options(folder: Path) -> list[str]:
    """Return the lines of `requirements.txt` that say where packages come from, with folders made absolute."""
    found: list[str] = []
    for name in list_requirement_files(folder):
        for line in _requirement_lines(folder / name):
            if option := _INDEX.match(line):
                value = option["value"]
                if value and "://" not in value and option["option"] in {"-f", "--find-links"}:
                    value = str((folder / name).parent / value)
                found.append(f"{option['option']} {value}".rstrip())
    return found


def _requirement_lines(path: Path) -> Iterator[str]:
    """Yield the stripped lines of a requirements file that are neither empty nor comments."""
    text = _read_text(path) if path.is_file() else ""
    yield from (line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))


def _get_table(data: dict[str, Any], *path: str) -> dict[str, Any]:
    """Return the table at `path`, or an empty one if there is none."""
    for key in path:
        data = data[key] if isinstance(data.get(key), dict) else {}
    return data


def _read_requires_python(folder: Path) -> str | None:
    requires = _get_table(_read_toml(folder), "project").get("requires-python")
    if requires is None:
        return None
    try:
        SpecifierSet(requires)
    except (InvalidSpecifier, TypeError, AttributeError) as error:
        raise ProjectError(
            f'{PYPROJECT}: requires-python: expected versions such as ">=3.12,<3.14", found {requires!r}'
        ) from error
    return str(requires)


def _read_toml(folder: Path) -> dict[str, Any]:
    path = folder / PYPROJECT
    if not path.is_file():
        return {}
    if path.stat().st_size > _LARGEST_PYPROJECT:
        raise ProjectError(f"{PYPROJECT}: expected at most {_LARGEST_PYPROJECT:,} bytes, found more.")
    try:
        with reading(PYPROJECT):
            return tomllib.loads(_read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise ProjectError(f"{PYPROJECT}: this is not TOML: {error}.") from error


def _read_files(folder: Path, names: list[str]) -> list[str]:
    return [part for name in names if (folder / name).is_file() for part in (name, _read_text(folder / name))]


def _read_text(path: Path) -> str:
    try:
        with reading(path.name):
            return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"{path.name}: cannot be read: {error}.") from error


def freeze_venv(folder: Path) -> FrozenVenv | None:
    """Return the packages installed in `folder/.venv`. Nothing of it is executed: its interpreter may be anything.

    Return None if there is no `.venv`, if it has no packages, if Callboard has made it, or if files declare the
    project's dependencies.

    Raises:
        ProjectError: The `.venv` cannot be read.
    """
    if _has_no_venv_dependencies(folder):
        return None
    requirements = _list_installed(folder)
    if not requirements:
        return None
    version = _PYTHON_OF_VENV.search(_read_text(folder / VENV / "pyvenv.cfg"))
    if version is None:
        raise ProjectError(f"{VENV}: its pyvenv.cfg does not say which Python it is for. Make it anew, or remove it.")
    return FrozenVenv(python=version[1], requirements="\n".join([*requirements, ""]))


def _has_no_venv_dependencies(folder: Path) -> bool:
    venv = folder / VENV
    is_ours = (venv / VENV_MARK).is_file()
    return is_ours or not (venv / "pyvenv.cfg").is_file() or find_package_source(folder) is not None


def _list_installed(folder: Path) -> list[str]:
    """Return exact requirements of all that is installed in the `.venv`, sorted by name.

    The project itself is left out, which need not be installed in its environment here, and so are tools: pip, which
    the venv module puts into every environment, and what `callboard run` wants there.
    """
    if (folder / VENV / FROZEN).is_file():
        return _read_text(folder / VENV / FROZEN).splitlines()
    places = [str(place) for place in (folder / VENV).glob("lib/python3.*/site-packages")]
    if not places:
        raise ProjectError(
            f"{VENV}: what is installed in it cannot be read: there is no lib/python3.*/site-packages in it. Make it "
            "anew, remove it, or list the project's dependencies in requirements.txt."
        )
    found = {canonicalize_name(each.name): each for each in distributions(path=places) if each.metadata["Name"]}
    listed = [_requirement(name, found[name]) for name in sorted(found) if name not in _TOOLS]
    itself = str(folder.resolve())
    return [line for line in listed if line.partition("file://")[2] != itself]


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
