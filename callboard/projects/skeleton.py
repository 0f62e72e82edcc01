"""Creating a new project: a folder with everything that a project needs, and an API that runs."""

from __future__ import annotations

import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from callboard.schemas.errors import ProjectError

TEMPLATES = {
    "hello": "hello",
    "list": "list",
    "login": "account",
    "download": "download",
    "typescript": "hello",
    "typescript-login": "account",
}
"""Templates of new projects, each with the name of its API. The name of one in TypeScript says so."""

_FOLDER = Path(__file__).parent / "templates"
_HIDDEN = ("gitignore", "parameters")
"""Names that begin with a dot in a project. In the templates they do not, as tools would follow them there."""


def write_skeleton(parent: Path, name: str, template: str = "hello") -> list[Path]:
    """Create the project `name` in a folder of that name below `parent`, and return its files.

    The files appear all at once or not at all, because a `callboard dev` may be watching. `parent` exists, the name is
    one that `callboard.projects.project_settings.is_project_name` accepts, and the template is one of `TEMPLATES`.

    Raises:
        ProjectError: Something of that name exists already, or the folder cannot be created.
    """
    folder = parent / name
    beside = parent / f".{name}.new-{uuid.uuid4().hex}"
    try:
        folder.mkdir()  # The folder is ours from here on, so nobody else's is replaced.
    except FileExistsError:
        raise ProjectError(
            f"{folder} already exists and was left unchanged. Choose another name, or remove it."
        ) from None
    except OSError as error:
        raise ProjectError(f"{folder} cannot be created: {error.strerror}.") from error
    try:
        files = _files(template)
        for path, source in files.items():
            text = source.read_text("utf-8").replace("PROJECT_NAME", name).replace("API_NAME", TEMPLATES[template])
            (beside / path).parent.mkdir(parents=True, exist_ok=True)
            (beside / path).write_text(text, encoding="utf-8")
        beside.rename(folder)  # This replaces the empty folder.
    except BaseException as error:
        shutil.rmtree(beside, ignore_errors=True)
        with suppress(OSError):
            folder.rmdir()
        if isinstance(error, OSError):
            raise ProjectError(f"{folder} cannot be created: {error.strerror}.") from error
        raise
    return [folder / path for path in files]


def _files(template: str) -> dict[Path, Path]:
    """Return the files of a new project, each with the one that it is made from. The template's own come last."""
    found: dict[Path, Path] = {}
    language = "typescript" if template.startswith("typescript") else "python"
    for source in (_FOLDER / "common", _FOLDER / f"{language}-common", _FOLDER / template):
        for path in sorted(source.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                first, *rest = path.relative_to(source).parts
                found[Path(f".{first}" if first in _HIDDEN else first, *rest)] = path
    return found
