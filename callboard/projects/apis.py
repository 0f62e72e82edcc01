"""Finding the APIs of a project folder, and checking whether Python can import and compile its files."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from callboard.projects.files import ProjectFile, is_ignored_below
from callboard.projects.languages import PACKAGE_JSON, Language, find_language, is_api
from callboard.projects.manifest import DeployWarning
from callboard.projects.reading import reading
from callboard.schemas.errors import ProjectError

LOGIN = "auth-sessions/create"
"""The name under which the function that logs in is described like an API, which it is not."""


def find_apis(folder: Path, files: Sequence[ProjectFile]) -> list[str]:
    """Return the names of the project's APIs, sorted (docs/contract.md, section 2). The project has these files.

    Each file below `api/` in the project's language is an API, named by its path there without the suffix:
    `api/ai/extract.py` is `ai/extract`. `__init__.py`, `.d.ts` and paths with a part that begins with a dot are none.

    Raises:
        ProjectError: There is no `api` folder, or no API in it; or two files are the same API, or APIs are in two
            languages.
    """
    language = find_language(file.path for file in files)
    if not (folder / "api").is_dir():
        raise ProjectError(f"{folder}: there is no folder api in the project. {_advice(language)}")
    found: dict[str, PurePosixPath] = {}
    for path in (PurePosixPath(file.path) for file in files):
        if language is Language.TYPESCRIPT and is_api(path, Language.PYTHON):
            raise ProjectError(
                f"{path}: its APIs are in two languages. A project with a {PACKAGE_JSON} and APIs in TypeScript or "
                "JavaScript has no Python beside them: make two projects of it."
            )
        if is_api(path, language):
            name = api_of(path)
            if name in found:
                raise ProjectError(f"{path}: {found[name]} is the API {name} already. Rename or remove one of them.")
            found[name] = path
    if not found:
        others = [*check_languages(files), *check_ignored(folder)]
        reason = f"{others[0]}. There is no other API" if others else "there is no API"
        raise ProjectError(f"{folder}: {reason} in the project's folder api. {_advice(language)}")
    return sorted(found)


def list_apis_of_version(files: Path) -> list[str]:
    """Return the names of the APIs of an unpacked version of a Python project, sorted.

    It has no other files than those of the project.
    """
    paths = [PurePosixPath(path.relative_to(files).as_posix()) for path in (files / "api").rglob("*.py")]
    return sorted(api_of(path) for path in paths if is_api(path, Language.PYTHON))


def api_of(path: PurePosixPath) -> str:
    """Return the name of the API that is this file."""
    return str(path.relative_to("api").with_suffix(""))


def _advice(language: Language) -> str:
    kind = "Python" if language is Language.PYTHON else "TypeScript or JavaScript"
    return f"Each API is a {kind} file in it: {language.example}."


def check_languages(files: Sequence[ProjectFile]) -> list[DeployWarning]:
    """Return one warning for each file below `api` that looks like an API and is none.

    Without a `package.json`, that is TypeScript. With one, it is what has another suffix.
    """
    paths = [PurePosixPath(file.path) for file in files]
    if find_language(file.path for file in files) is Language.PYTHON:
        suffixes, message = (".ts",), f"not served, as a project in TypeScript has a {PACKAGE_JSON}"
    else:
        served = ", ".join(Language.TYPESCRIPT.suffixes)
        suffixes, message = (".cjs", ".cts", ".jsx", ".tsx"), f"not served, as APIs are {served} files"
    return [
        DeployWarning(file=str(path), message=message)
        for path in paths
        if path.parts[0] == "api" and path.suffix in suffixes and not path.name.endswith((".d.ts", ".d.cts"))
    ]


def check_ignored(folder: Path) -> list[DeployWarning]:
    """Return one warning for each API that a `.gitignore` leaves out."""
    paths = [path for path in sorted((folder / "api").rglob("*")) if path.is_file()]
    files = [(path, PurePosixPath(path.relative_to(folder).as_posix())) for path in paths]
    has_package = (folder / PACKAGE_JSON).is_file()
    return [
        DeployWarning(file=str(file), message="left out, as a .gitignore names it")
        for path, file in files
        if (is_api(file, Language.PYTHON) or (has_package and is_api(file, Language.TYPESCRIPT)))
        and is_ignored_below(folder, path)
    ]


def check_names(apis: Collection[str]) -> list[DeployWarning]:
    """Return one warning for each API in Python that cannot be imported because of its own name or another API's.

    It is imported as a module, with a dot for each `/` (docs/contract.md, section 3, rule 1).
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
