"""The files of a project folder that belong to the project: they are bundled, and APIs are looked for among them.

Files that tools, Runs and logins leave behind, files that must not travel, and those that the project's `.gitignore`
files name are left out (docs/contract.md, section 2).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PurePosixPath

from pathspec import GitIgnoreSpec

from callboard.projects.reading import Patience, reading
from callboard.schemas.errors import ProjectError

COMPILED = ".callboard"
"""The folder of a version with the compiled functions of a project in TypeScript."""

_EXCLUDED = frozenset(
    {
        # These are folders and files of version control and editors.
        ".git", ".hg", ".svn", ".bzr", ".idea", ".vscode", ".DS_Store",
        # These are environments and installed packages. An environment under any other name is known by its pyvenv.cfg.
        ".venv", "node_modules", ".tox", ".nox",
        # These are caches.
        "__pycache__", ".cache", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis",
    }
)  # fmt: skip
"""Names of files and folders that are left out wherever they are."""

_EXCLUDED_PATTERNS = (
    ".env*", "*.log", "*.pyc", "*.db", "*.sqlite3", "*.egg-info",
    # Editors (vim, Emacs, JetBrains) make these files beside one that is being edited.
    ".*.sw[a-p]", "*~", "#*#", ".#*", "*___jb_tmp___", "*___jb_old___",
)  # fmt: skip

_EXCLUDED_PATHS = frozenset(
    {
        "build", "dist", "venv", "output", "tmp", "traces", "README.md",
        # A version has its compiled functions here.
        COMPILED,
        # These hold logins that were stored on this host, and the credentials for trying and creating logins.
        "auth-sessions-instances", "auth-session-instances",
        ".parameters/auth-sessions", "intuned-resources/auth-sessions",
    }
)  # fmt: skip
"""Paths that are left out. In other places, people use these names for their own modules."""


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""Characters that a terminal or a log would obey. No name in a project needs them."""


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """One file of a project."""

    path: str
    """Path below the project folder, with `/` between its parts."""
    source: Path
    """Path of the content: the file itself, or the target of a symbolic link."""
    size: int
    """Size in bytes."""


def list_project_files(folder: Path) -> list[ProjectFile]:
    """Return the files of the project in `folder`, in ascending order of their paths.

    A symbolic link to something inside the project is treated as its target.

    Raises:
        ProjectError: A link leads out of the project or nowhere, or a file cannot be bundled; the message names it.
    """
    root = folder.resolve()
    try:
        return sorted(_walk(root, root, "", (root,)), key=lambda file: file.path)
    except OSError as error:
        raise ProjectError(f"{error.filename}: cannot be read: {error.strerror}.") from error


def list_unpacked_files(folder: Path) -> list[ProjectFile]:
    """Return the files of an unpacked version, in ascending order of their paths. All of them belong to the project."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    listed = [ProjectFile(path.relative_to(folder).as_posix(), path, path.stat().st_size) for path in files]
    return sorted(listed, key=lambda file: file.path)


def check_name(path: str) -> None:
    """Raise ProjectError if a file of a project cannot have this path."""
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise ProjectError(f"{path!r}: the name is not UTF-8. Rename the file.") from error
    if _CONTROL.search(path):
        raise ProjectError(f"{path!r}: the name has a control character. Rename the file.")


def may_be_project_path(folder: Path, path: Path) -> bool:
    """Tell whether `path`, below the project folder `folder`, is a file of the project or a folder that may hold one.

    The path need not exist (any more). A `.gitignore` may leave it out all the same.
    """
    above = _path_and_folders_above(folder, path)
    return not any(_is_excluded(part) or (folder / part / "pyvenv.cfg").exists() for part in above)


def find_unignored(folder: Path, paths: list[Path]) -> list[Path]:
    """Return the paths below the project folder `folder` that no `.gitignore` leaves out. They need not exist."""
    return [path for path in paths if not is_ignored_below(folder, path)]


def has_gitignore(folder: Path, path: Path) -> bool:
    """Tell whether there is a `.gitignore` in the project folder that may leave out `path`."""
    return any((folder / above / GITIGNORE).exists() for above in path.relative_to(folder).parents)


def folders_of(folder: Path) -> list[Path]:
    """Return the full path of a project folder, and that of its `.venv` if this is elsewhere. Links are kept."""
    whole = Path(os.path.abspath(folder))  # noqa: PTH100
    venv = whole / ".venv"
    return [whole, *([venv.resolve()] if venv.is_symlink() and (venv / "pyvenv.cfg").is_file() else [])]


def is_ignored_below(folder: Path, path: Path) -> bool:
    """Tell whether a `.gitignore` of the project in `folder` leaves out `path`, or a folder that it is in."""
    above = _path_and_folders_above(folder, path)
    return any(is_ignored(folder, part, folder=part != above[-1] or path.is_dir()) for part in above)


def _path_and_folders_above(folder: Path, path: Path) -> list[str]:
    parts = path.relative_to(folder).parts
    return ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def _walk(root: Path, folder: Path, prefix: str, inside: tuple[Path, ...]) -> Iterator[ProjectFile]:
    """Yield the files below `folder`; `inside` are the real folders that the walk is in, to notice a circle."""
    for source in sorted(folder.iterdir()):
        path = prefix + source.name
        if _is_excluded(path):
            continue
        check_name(path)
        if is_ignored(root, path, folder=source.is_dir() and not source.is_symlink()):
            continue
        real = _resolve_link(root, source, path) if source.is_symlink() else source
        if real.is_dir():
            if (real / "pyvenv.cfg").exists():
                continue
            if real in inside:
                raise ProjectError(f"{path}: the symbolic link leads in a circle. Remove it.")
            yield from _walk(root, real, f"{path}/", (*inside, real))
        elif real.is_file():
            yield ProjectFile(path, real, real.stat().st_size)
        else:
            raise ProjectError(f"{path}: neither a file nor a folder. Remove it from the project.")


def _is_excluded(path: str) -> bool:
    name = path.rpartition("/")[2]
    return (
        name in _EXCLUDED
        or path in _EXCLUDED_PATHS
        or any(fnmatchcase(name, pattern) for pattern in _EXCLUDED_PATTERNS)
    )


def _is_left_out(root: Path, path: str) -> bool:
    return _is_excluded(path) or is_ignored(root, path, folder=(root / path).is_dir())


def _resolve_link(root: Path, link: Path, path: str) -> Path:
    try:
        real = link.resolve()
        there = real.exists()
    except (OSError, RuntimeError):  # For a circle of links, Python 3.12 raises RuntimeError.
        real, there = link, False
    if not real.is_relative_to(root):
        raise ProjectError(
            f"{path}: the symbolic link leads out of the project, to {link.readlink()}. "
            "A version must hold all that it needs: replace the link by what it leads to."
        )
    if not there:
        raise ProjectError(f"{path}: the symbolic link leads nowhere. Remove it.")
    target = PurePosixPath(real.relative_to(root).as_posix())
    # Without this check, a link would bundle a file that must not be, such as an .env file.
    if hidden := [str(part) for part in (target, *target.parents) if part.name and _is_left_out(root, str(part))]:
        raise ProjectError(f"{path}: the symbolic link leads to {hidden[-1]}, which is never bundled. Remove it.")
    return real


GITIGNORE = ".gitignore"

_PATIENCE = Patience(15)
"""Seconds of the processor that all of it may take. A pattern with many stars may take centuries for one name."""

_EVERYTHING_BELOW = re.compile(r"/\*\*\s*$")


def is_ignored(root: Path, path: str, *, folder: bool) -> bool:
    """Tell whether a `.gitignore` in the project folder `root` leaves out a file or folder of it.

    It says nothing about the folders that the path lies in: whatever is below one that is left out is left out, too.

    Raises:
        ProjectError: That takes too long, or too much memory; the message names the `.gitignore`.
        OSError: A `.gitignore` cannot be read.
    """
    for above in PurePosixPath(path).parents:  # the nearest file decides
        name = (above / GITIGNORE).as_posix()
        with _PATIENCE.with_file(name), reading(name):
            spec = _read(root / name)
            inside = PurePosixPath(path).relative_to(above).as_posix()
            if (
                spec is not None
                and (ignored := spec.check_file(f"{inside}/" if folder else inside).include) is not None
            ):
                return ignored
    return False


def _read(file: Path) -> GitIgnoreSpec | None:
    try:
        status = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _parse(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=256)
def _parse(file: Path, _changed_at: int, _size: int) -> GitIgnoreSpec:
    lines = os.fsdecode(file.read_bytes()).splitlines()
    # To git, `logs/**` is all that is in logs, as `logs/*` is; to the library, it is the folder itself, too.
    return GitIgnoreSpec.from_lines(_EVERYTHING_BELOW.sub("/*", line) for line in lines if _is_pattern(line))


def _is_pattern(line: str) -> bool:
    """Tell whether the line means anything: git passes over lines that do not, such as `!` alone."""
    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True
