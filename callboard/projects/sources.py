"""What the text of a version says: which packages it declares, and what its APIs look like."""

from __future__ import annotations

from pathlib import Path

from callboard.projects.apis import LOGIN, list_apis_of_version
from callboard.projects.code_checks import ApiCode, look_at_code, source_of
from callboard.projects.declaration import Declaration, read_declaration
from callboard.projects.manifest import Stored
from callboard.projects.node.declared import NodeProject, read_node_project
from callboard.schemas.workflow.deploy import FrozenVenv


class Sources(Stored):
    """What packages are resolved by, and annotations read by, of the unpacked files of a version."""

    declaration: Declaration | None
    """The packages that it declares; None if it declares none, and has no environment of its own."""
    code: dict[str, ApiCode]
    """What its APIs and the function that logs in say, by their names; nothing of those that are not in Python."""
    node: NodeProject | None = None
    """What a project in TypeScript consists of; None for one in Python."""


def read_sources(files: Path, frozen: FrozenVenv | None) -> Sources:
    """Read the unpacked files of a version, whose project's `.venv` has these packages if it is its declaration.

    Raises:
        ProjectError: A file is not in the format that its name promises.
    """
    if (node := read_node_project(files)) is not None:
        return Sources(declaration=None, code={}, node=node)
    apis = list_apis_of_version(files)
    logs_in = LOGIN not in apis and (files / source_of(LOGIN)).is_file()
    code = look_at_code(files, [*apis, LOGIN] if logs_in else apis)
    return Sources(declaration=read_declaration(files, frozen), code=code)
