"""The dependencies of `intuned-runtime` in a project's environment, without that package itself.

Callboard has its own `intuned_runtime` in its place. But projects import pydantic, httpx and other dependencies of the
package without listing them. So uv resolves the package like any other, within the bounds that its metadata gives, and
then it is taken out of the list again.
"""

from __future__ import annotations

import re

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

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
            if name == "numpy" and wanted_by == {RUNTIME_PACKAGE} and _is_numpy_1(requirement):
                lines[0] = _with_marker(lines[0], requirement)
        kept += lines
    return "\n".join([*kept, ""])


def _parse_requirement(line: str) -> Requirement | None:
    try:
        return Requirement(line.removesuffix("\\").strip())
    except InvalidRequirement:  # It is a path, or an address without a name.
        return None


def _is_numpy_1(requirement: Requirement) -> bool:
    return all(_NUMPY_2.contains(pin.version) for pin in requirement.specifier)


def _with_marker(line: str, requirement: Requirement) -> str:
    marker = _WITHOUT_WHEELS if requirement.marker is None else f"({requirement.marker}) and {_WITHOUT_WHEELS}"
    continued = " \\" if line.endswith("\\") else ""
    return f"{requirement.name}{requirement.specifier} ; {marker}{continued}"
