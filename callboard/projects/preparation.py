"""Reading and checking a project folder for a deploy, and packing it. Nothing of the project is executed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from callboard.projects.apis import check_ignored, check_languages, check_names, check_syntax, find_apis
from callboard.projects.bundle import extract, hash_files, pack
from callboard.projects.declaration import check_declaration, freeze_venv
from callboard.projects.files import is_ignored_below, list_project_files, list_unpacked_files
from callboard.projects.manifest import DeployWarning, Manifest, Stored
from callboard.projects.resource_files import (
    Resources,
    check_ignored_resources,
    find_auth_session_files,
    find_job_files,
    usable_auth_sessions,
)
from callboard.projects.settings_file import SettingsFile, read_settings_file, resolve_project_name
from callboard.projects.settings_syntax import SETTINGS_PARSERS
from callboard.projects.sources import Sources, read_sources
from callboard.schemas.errors import ProjectError
from callboard.schemas.workflow.deploy import FrozenVenv

_BUNDLE = "bundle.tar.gz"
_FILES = "files"


class Prepared(Stored):
    """What a project folder consists of, as far as that is known without packages and without executing anything."""

    manifest: Manifest
    resources: Resources
    frozen: FrozenVenv | None = None
    sources: Sources
    hashes: dict[str, str]
    """A hash of content and mode of each file, by path."""


def bundle_in(scratch: Path) -> Path:
    """Return where `prepare` has written the bundle."""
    return scratch / _BUNDLE


def files_in(scratch: Path) -> Path:
    """Return where `prepare` has unpacked the files of the version."""
    return scratch / _FILES


def prepare(folder: Path, scratch: Path) -> Prepared:
    """Check the project in `folder`, and pack it into the folder `scratch`.

    Raises:
        ProjectError: The folder is not a valid project; the message names the file and what to do.
    """
    # Most mistakes are found without the cost of packing, and in a folder that is no project, nothing is looked for.
    _check_settings(folder)
    listed = list_project_files(folder)
    find_apis(folder, listed)
    frozen = freeze_venv(folder)
    auth_sessions = find_auth_session_files(folder)
    beside = f"{frozen.python}\n{frozen.requirements}" if frozen is not None else ""
    version = pack(listed, bundle_in(scratch), extra=beside)
    # The manifest describes the files that were packed, as files of the folder may change at any time.
    files = files_in(scratch)
    extract(bundle_in(scratch), files)
    unpacked = list_unpacked_files(files)
    file = _check_settings(files)
    apis = find_apis(files, unpacked)
    resources = Resources(
        jobs=tuple(find_job_files(files, file.settings, apis)),
        auth_sessions=usable_auth_sessions(file.settings, auth_sessions),
    )
    manifest = Manifest(
        project=resolve_project_name(folder, file.settings),
        version=version,
        settings=file.settings,
        apis=tuple(apis),
        warnings=(
            *(DeployWarning(file=file.name, message=message) for message in file.ignored),
            *_check_ignored_files(folder, file.name),
            *check_ignored_resources(folder, file.settings, auth_sessions),
            *check_languages(unpacked),
            *check_ignored(folder),
            *check_names(apis),
            *check_syntax(unpacked),
            *check_declaration(files),
        ),
        created_at=datetime.now(UTC),
    )
    return Prepared(
        manifest=manifest,
        resources=resources,
        frozen=frozen,
        sources=read_sources(files, frozen),
        hashes=hash_files(bundle_in(scratch)),
    )


def _check_ignored_files(folder: Path, settings: str) -> Iterator[DeployWarning]:
    for other in SETTINGS_PARSERS:
        if other != settings and (folder / other).is_file():
            yield DeployWarning(file=other, message=f"ignored, as the settings are read from {settings}")


def _check_settings(folder: Path) -> SettingsFile:
    if not folder.is_dir():
        raise ProjectError(f"{folder}: there is no such folder.")
    file = read_settings_file(folder)
    if is_ignored_below(folder, folder / file.name):
        raise ProjectError(f"{file.name}: a .gitignore leaves out the settings file, but every version needs it.")
    settings = file.settings
    if settings.auth_sessions.enabled:
        # Code cannot create a login that a person recorded, so such a project has no create.py.
        files = ["create.py", "check.py"] if settings.auth_sessions.type == "API" else ["check.py"]
        missing = [f"auth-sessions/{file}" for file in files if not (folder / "auth-sessions" / file).is_file()]
        if missing:
            raise ProjectError(
                f"{folder}: authSessions.enabled is true, but the project has no {' and no '.join(missing)}. "
                "Create what is missing, or set authSessions.enabled to false."
            )
    return file
