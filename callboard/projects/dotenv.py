"""The `.env` files of the project folders that `callboard dev` runs.

Their variables are for user code in `callboard dev`; they are never part of a version.
"""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from dotenv import dotenv_values

from callboard.projects.settings_file import read_settings, resolve_project_name
from callboard.schemas.errors import ConfigurationError, ProjectError

_NAME = ".env"


class DevFolders:
    """The project folders directly below `parent`, by the names of their projects. All methods block."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._names: dict[Path, str] = {}
        """The last project name that each folder had. While its settings are being edited, a folder may have none."""
        self._seen: frozenset[tuple[Path, float]] = frozenset()

    def read_variables(self, project: str) -> dict[str, str]:
        """Return the variables that are in the `.env` of `project` now, or none if it has no such file.

        Raises:
            ConfigurationError: The file cannot be read.
        """
        folder = self.folder(project)
        return {} if folder is None else read_dotenv(folder)

    def folder(self, project: str) -> Path | None:
        """Return the folder of `project`, or None if it is not below `parent`."""
        self._refresh()
        return next((folder for folder, name in sorted(self._names.items()) if name == project), None)

    def _refresh(self) -> None:
        """Read the names again if a folder or a settings file was added, removed or changed."""
        folders = [path for path in self._parent.iterdir() if path.is_dir()] if self._parent.is_dir() else []
        seen = frozenset(
            (path, path.stat().st_mtime) for folder in folders for path in (folder, *folder.glob("Intuned.*"))
        )
        if seen == self._seen:
            return
        names: dict[Path, str] = {}
        for folder in folders:
            try:
                names[folder] = resolve_project_name(folder, read_settings(folder))
            except ProjectError:
                if folder in self._names:
                    names[folder] = self._names[folder]
        self._names, self._seen = names, seen


def read_dotenv(folder: Path) -> dict[str, str]:
    """Return the variables in the `.env` of a project folder, or none if it has no such file.

    Values are returned as they are written: `${NAME}` is not replaced, as it would be by variables of the worker.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    path = folder / _NAME
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.") from error
    if "\0" in text:
        raise ConfigurationError(f"{path} cannot be read: it holds a NUL character, which no variable can.")
    values = dotenv_values(stream=StringIO(text), interpolate=False)
    return {name: value for name, value in values.items() if value is not None}
