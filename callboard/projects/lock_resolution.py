"""Resolving the dependencies that a project declares into the exact list of packages of its environment.

A project cannot choose two packages: Playwright, which is held at Callboard's own version, as the browser is
Callboard's too; and `intuned-runtime`, which Callboard replaces with its own. The dependencies of that package are
included in the list.
"""

from __future__ import annotations

import re
from datetime import timedelta
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from callboard.projects.declaration import (
    LOCK,
    PLAYWRIGHT,
    PYPROJECT,
    REQUIREMENTS,
    Declaration,
    pinned_playwright,
    satisfies,
)
from callboard.projects.interpreters import Interpreter, lowest_minor
from callboard.projects.uv import ProjectUv, UvError
from callboard.schemas.errors import ProjectError
from callboard.schemas.workflow.deploy import FrozenVenv

_TIMEOUT = timedelta(minutes=5)


async def resolve_lock(
    declaration: Declaration, files: Path, frozen: FrozenVenv | None, python: Interpreter, scratch: Path, uv: ProjectUv
) -> str:
    """Return the list of packages: a requirements file with exact versions and hashes, without an index's address.

    It is valid for every platform, and for every Python from the lowest on that the project and a Machine can run on,
    because workers need not be like the host of the deploy.

    Raises:
        ProjectError: There is no such list; the message names the package and the reason.
    """
    inputs = [_write_file(scratch / "held.in", pinned_playwright())]
    options: list[str | Path] = ["--override", _write_file(scratch / "overrides.txt", pinned_playwright())]
    if declaration.source == PYPROJECT:
        inputs.insert(0, files / PYPROJECT)
        if (files / LOCK).is_file():
            options += ["--constraint", _write_file(scratch / "pins.txt", await _read_lock_pins(files, python, uv))]
    elif declaration.source == REQUIREMENTS:
        inputs.insert(0, files / REQUIREMENTS)
    elif frozen is not None:
        inputs.insert(0, _write_file(scratch / "frozen.in", "\n".join(_pins(frozen.requirements))))
    wanted = SpecifierSet(declaration.requires_python or "")
    lowest = lowest_minor(wanted) if satisfies(python.version, wanted) else min(lowest_minor(wanted), python.minor)
    try:
        listed = await uv.run(
            *("pip", "compile", *inputs, *options, "--quiet", "--universal", "--python-version", lowest),
            *("--python", python.executable, "--generate-hashes", *uv.build_options),
            *("--no-header", "--annotation-style", "split", "--no-emit-index-url", "--no-emit-find-links"),
            cwd=files,
            timeout=_TIMEOUT,
            python=python.executable,
            read=[scratch],
        )
    except UvError as error:
        reason = str(error).replace(f"{files}/", "")
        held = f" Playwright is held at {version(PLAYWRIGHT)}." if re.search(rf"{PLAYWRIGHT}[=<>]", reason) else ""
        raise ProjectError(f"{declaration.source}: the dependencies cannot be resolved: {reason}.{held}") from error
    listed = drop_runtime(listed)
    for line in _requirement_lines(listed):
        _require_portable(line, declaration.source)
    return listed


async def _read_lock_pins(files: Path, python: Interpreter, uv: ProjectUv) -> str:
    """Return the pins of the project's `uv.lock` as constraints; packages that it does not list are resolved freely."""
    try:
        listed = await uv.run(
            *("export", "--quiet", "--frozen", "--no-default-groups", "--no-emit-project"),
            *("--no-hashes", "--no-header", "--no-annotate", "--no-python-downloads"),
            cwd=files,
            timeout=_TIMEOUT,
            python=python.executable,
        )
    except UvError as error:
        raise ProjectError(f"{LOCK}: cannot be used: {error}. Make it anew with `uv lock`, or remove it.") from error
    # A folder or file cannot be a constraint, and only such a line has no name.
    return "\n".join(line for line in _pins(listed) if _name(line) is not None)


def _pins(listed: str) -> list[str]:
    """Return the requirements in `listed` without Playwright and the packages that Playwright requires."""
    ours = {PLAYWRIGHT, *(canonicalize_name(Requirement(line).name) for line in requires(PLAYWRIGHT) or ())}
    return [line for line in _requirement_lines(listed) if _name(line) not in ours]


def _requirement_lines(listed: str) -> list[str]:
    lines = (line.removesuffix("\\").strip() for line in listed.splitlines())
    return [line for line in lines if line and not line.startswith(("#", "--"))]


def _name(line: str) -> str | None:
    requirement = _parse_requirement(line)
    return None if requirement is None else canonicalize_name(requirement.name)


def _require_portable(line: str, source: str) -> None:
    """Refuse a requirement that is installed from a folder or file on the host of the deploy."""
    requirement = _parse_requirement(line)
    if requirement is None or (requirement.url or "").startswith("file:"):
        raise ProjectError(
            f"{source}: {line} is a folder or file on this machine, where workers cannot install it from. Put the "
            "modules into the project itself, where they can be imported as they are, or list a published package."
        )


def _write_file(path: Path, text: str) -> Path:
    path.write_text(text + "\n")
    return path


RUNTIME_PACKAGE = "intuned-runtime"
_VIA = re.compile(r"\s+#\s+(?:via\b\s*)?(.*)")
"""Matches a note of uv about who requires a package: one name stands behind `via`, several names stand below it."""
_NUMPY_2 = SpecifierSet("<2")
_WITHOUT_WHEELS = "python_full_version < '3.13'"


def drop_runtime(annotated: str) -> str:
    """Return a list made by `uv pip compile --annotation-style split` without `intuned-runtime` and without comments.

    `intuned-runtime` requires numpy 1, which has no wheels for Python 3.13 and later: building it takes a compiler and
    many minutes. So numpy is left out for those versions, unless another package or the project requires it, too.
    """
    kept: list[str] = []
    for entry in re.split(r"^(?=[^\s#])", annotated, flags=re.MULTILINE):
        lines = [line for line in entry.splitlines() if not line.lstrip().startswith("#")]
        if not lines:
            continue
        wanted_by = {via[1] for line in entry.splitlines() if (via := _VIA.fullmatch(line)) and via[1]}
        requirement = _parse_requirement(lines[0])
        if requirement is not None:
            name = canonicalize_name(requirement.name)
            if name == RUNTIME_PACKAGE:
                continue
            is_numpy_1 = name == "numpy" and all(_NUMPY_2.contains(pin.version) for pin in requirement.specifier)
            if is_numpy_1 and wanted_by == {RUNTIME_PACKAGE}:
                lines[0] = _with_marker(lines[0], requirement)
        kept += lines
    return "\n".join([*kept, ""])


def _parse_requirement(line: str) -> Requirement | None:
    try:
        return Requirement(line.removesuffix("\\").strip())
    except InvalidRequirement:  # It is a path, `-e` and a path, or an address without a name.
        return None


def _with_marker(line: str, requirement: Requirement) -> str:
    marker = _WITHOUT_WHEELS if requirement.marker is None else f"({requirement.marker}) and {_WITHOUT_WHEELS}"
    continued = " \\" if line.endswith("\\") else ""
    return f"{requirement.name}{requirement.specifier} ; {marker}{continued}"
