"""Finding the project folders of `callboard dev`."""

from __future__ import annotations

from pathlib import Path

from callboard.projects.settings_syntax import SETTINGS_PARSERS
from callboard.schemas.errors import StackError


def find_project_folders(parent: Path) -> list[Path]:
    """Return the project folders directly below `parent`, by name: those with a settings file or a folder `api`.

    Raises:
        StackError: `parent` is not a folder, holds no project, or is a project itself.
    """
    if not parent.is_dir():
        raise StackError(f"There is no folder {parent}. Pass the folder that contains your project folders.")
    if _has_settings_file(parent):
        raise StackError(f"{parent} is itself a project. Pass the folder above it; every project in it is served.")
    folders = list_project_folders(parent)
    if not folders:
        raise StackError(
            f"There is no project in {parent}. A project is a folder with a settings file"
            f" ({' or '.join(SETTINGS_PARSERS)}) and its APIs in a folder `api`. `callboard new NAME --in {parent}`"
            " makes one."
        )
    return folders


def list_project_folders(parent: Path) -> list[Path]:
    """Return the project folders directly below `parent`, by name; return none if `parent` does not exist."""
    try:
        return [folder for folder in sorted(parent.iterdir()) if is_project_folder(folder)]
    except OSError:
        return []


def is_project_folder(folder: Path) -> bool:
    """Tell whether `folder` is meant as a project: it has a settings file or a folder `api`, and is not hidden."""
    return not folder.name.startswith(".") and (_has_settings_file(folder) or (folder / "api").is_dir())


def _has_settings_file(folder: Path) -> bool:
    return any((folder / spelling).is_file() for spelling in SETTINGS_PARSERS)
