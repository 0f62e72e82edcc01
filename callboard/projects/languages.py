"""The two languages of projects, and which of them a project is in: its files tell (docs/contract.md, section 2)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import PurePosixPath

PACKAGE_JSON = "package.json"


class Language(StrEnum):
    """The language of a project's APIs."""

    PYTHON = "python"
    TYPESCRIPT = "typescript"

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The suffixes of files that are called by name: APIs, those of a login, and the hook."""
        return (".py",) if self is Language.PYTHON else (".ts", ".mts", ".js", ".mjs")

    @property
    def example(self) -> str:
        """How to write an API, as the end of a sentence."""
        if self is Language.PYTHON:
            return "create api/hello.py with `async def automation(page, params=None, **_kwargs)` to have the API hello"
        return "create api/hello.ts with `export default async function (params, page, context)` to have the API hello"


def find_language(paths: Iterable[str]) -> Language:
    """Return the language of a project with these files, whose paths are below its folder.

    It is TypeScript if it has a `package.json` and an API in it. A Python project may have a `package.json` for tools.
    """
    files = [PurePosixPath(path) for path in paths]
    has_package = PurePosixPath(PACKAGE_JSON) in files
    if has_package and (
        any(is_api(file, Language.TYPESCRIPT) for file in files)
        or not any(is_api(file, Language.PYTHON) for file in files)
    ):
        return Language.TYPESCRIPT
    return Language.PYTHON


def is_api(path: PurePosixPath, language: Language) -> bool:
    """Tell whether this file of a project is an API, if the project is in this language."""
    return (
        len(path.parts) > 1
        and path.parts[0] == "api"
        and path.suffix in language.suffixes
        and path.name != "__init__.py"
        and not path.name.endswith((".d.ts", ".d.mts"))
        and not any(part.startswith(".") for part in path.parts)
    )
