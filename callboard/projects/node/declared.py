"""What a project in TypeScript consists of: the functions that are called by name, and the packages it declares."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path, PurePosixPath

from callboard.projects.apis import api_of
from callboard.projects.files import list_unpacked_files
from callboard.projects.languages import Language, find_language, is_api
from callboard.projects.manifest import Stored
from callboard.projects.node.packages import NodePackages, read_packages
from callboard.projects.node.tools import LISTED, OUR_PACKAGES

HOOK = "hooks/setupContext"
_NAMED = ("auth-sessions/create", "auth-sessions/check", HOOK)
"""What is called by name besides the APIs."""


class NodeProject(Stored):
    """The unpacked files of a version in TypeScript, as a build needs to know them."""

    functions: dict[str, str]
    """By name, such as `api/list` or `hooks/setupContext`, the file that a function is in."""
    packages: NodePackages | None = None
    """The packages that it declares; None if it needs none but Callboard's own."""


def read_node_project(files: Path) -> NodeProject | None:
    """Read the unpacked files of a version; None if it is in Python.

    Raises:
        ProjectError: A file is not in the format that its name promises.
    """
    paths = [PurePosixPath(file.path) for file in list_unpacked_files(files)]
    if find_language(map(str, paths)) is not Language.TYPESCRIPT:
        return None
    return NodeProject(functions=find_functions(paths), packages=read_packages(files))


def find_functions(paths: Sequence[PurePosixPath]) -> dict[str, str]:
    """Return the functions of a project in TypeScript with these files: by name, the file that each is in."""
    language = Language.TYPESCRIPT
    functions = {f"api/{api_of(path)}": str(path) for path in paths if is_api(path, language)}
    for path in paths:
        if path.suffix in language.suffixes and (name := str(path.with_suffix(""))) in _NAMED:
            functions.setdefault(name, str(path))
    return functions


@cache
def compiler_digest() -> str:
    """Return what tells compiled code of this Callboard from that of another one which compiles the same files."""
    here = Path(__file__).parent
    ours = sorted(path for path in (OUR_PACKAGES / "@intuned" / "browser").rglob("*") if path.is_file())
    made_by = [LISTED / "package-lock.json", here / "compile.js", *ours]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in made_by)).hexdigest()
