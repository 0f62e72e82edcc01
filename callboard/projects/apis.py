"""Finding the APIs of a project folder, and checking whether Python can import and compile its files."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from callboard.projects.files import ProjectFile, is_ignored_below
from callboard.projects.manifest import DeployWarning
from callboard.projects.reading import reading
from callboard.schemas.errors import ProjectError


def find_apis(folder: Path, files: Sequence[ProjectFile]) -> list[str]:
    """Return the names of the project's APIs, sorted (docs/contract.md, section 2). The project has these files.

    Each Python file below `api/` is an API, named by its path there without the suffix: `api/ai/extract.py` is
    `ai/extract`. `__init__.py` and paths with a part that begins with a dot are not APIs.

    Raises:
        ProjectError: There is no `api` folder, or no API in it.
    """
    if not (folder / "api").is_dir():
        raise ProjectError(f"{folder}: there is no folder api in the project. {_ADVICE}")
    paths = [PurePosixPath(file.path) for file in files]
    apis = sorted(str(path.relative_to("api").with_suffix("")) for path in paths if _is_api(path))
    if not apis:
        others = [*check_languages(files), *check_ignored(folder)]
        reason = f"{others[0]}. There is no other API" if others else "there is no API"
        raise ProjectError(f"{folder}: {reason} in the project's folder api. {_ADVICE}")
    return apis


def list_apis_of_version(files: Path) -> list[str]:
    """Return the names of the APIs of an unpacked version, sorted. It has no other files than those of the project."""
    paths = [PurePosixPath(path.relative_to(files).as_posix()) for path in (files / "api").rglob("*.py")]
    return sorted(str(path.relative_to("api").with_suffix("")) for path in paths if _is_api(path))


_ADVICE = (
    "Each API is a Python file in it: "
    "create api/hello.py with `async def automation(page, params=None, **_kwargs)` to have the API hello."
)


def _is_api(path: PurePosixPath) -> bool:
    return (
        len(path.parts) > 1
        and path.parts[0] == "api"
        and path.suffix == ".py"
        and path.name != "__init__.py"
        and not any(part.startswith(".") for part in path.parts)
    )


def check_languages(files: Sequence[ProjectFile]) -> list[DeployWarning]:
    """Return one warning for each TypeScript file below `api`: it is an API on another platform, but not here."""
    paths = [PurePosixPath(file.path) for file in files]
    return [
        DeployWarning(file=str(path), message="not served, as projects in TypeScript are out of scope")
        for path in paths
        if path.parts[0] == "api" and path.suffix == ".ts" and not path.name.endswith(".d.ts")
    ]


def check_ignored(folder: Path) -> list[DeployWarning]:
    """Return one warning for each Python file below `api` that a `.gitignore` leaves out."""
    files = [(path, path.relative_to(folder)) for path in sorted((folder / "api").rglob("*.py"))]
    return [
        DeployWarning(file=str(file), message="left out, as a .gitignore names it")
        for path, file in files
        if _is_api(PurePosixPath(file)) and is_ignored_below(folder, path)
    ]


def check_names(apis: Collection[str]) -> list[DeployWarning]:
    """Return one warning for each API that cannot be imported because of its own name or another API's name.

    An API is imported as a module, with a dot for each `/` (docs/contract.md, section 3, rule 1).
    """
    found: list[DeployWarning] = []
    for api in apis:
        folders = [str(folder) for folder in PurePosixPath(api).parents]
        if "." in api:
            message = "it cannot be imported with a dot in its path; rename it"
        elif above := [folder for folder in folders if folder in apis]:
            message = (
                f"it cannot be imported beside api/{above[0]}.py, a module of its folder's name; rename one of them"
            )
        else:
            continue
        found.append(DeployWarning(file=f"api/{api}.py", message=message))
    return found


def check_syntax(files: Sequence[ProjectFile]) -> list[DeployWarning]:
    """Return one warning for each Python file of the project that Python cannot compile.

    A broken file affects only the APIs that use it, so it does not prevent a deploy. One that is too large to be
    compiled does: workers could not compile it, and neither could Machines.

    Raises:
        ProjectError: Compiling a file takes more memory than there is.
    """
    found: list[DeployWarning] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's warnings about questionable code are left to the author.
        for file in files:
            if file.path.endswith(".py"):
                try:
                    with reading(file.path):
                        _compile(file)
                except SyntaxError as error:
                    found.append(DeployWarning(file=file.path, line=error.lineno, message=error.msg, unparsed=True))
                except (ValueError, RecursionError) as error:
                    message = str(error) or "the code is nested too deeply"
                    found.append(DeployWarning(file=file.path, line=None, message=message, unparsed=True))
    return found


def _compile(file: ProjectFile) -> None:
    try:
        compile(file.source.read_bytes(), file.path, "exec", dont_inherit=True)
    except MemoryError as error:
        if not str(error):
            raise
        # Python's parser says so of what is nested too deeply.
        raise RecursionError(str(error)) from error
