"""Reading and checking a project folder for a deploy, and packing it. Nothing of it is executed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from callboard.projects.apis import check_ignored, check_languages, check_names, check_syntax, find_apis
from callboard.projects.bundle import extract, hash_files, pack
from callboard.projects.declaration import check_declaration, freeze_venv
from callboard.projects.files import ProjectFile, is_ignored_below, list_project_files, list_unpacked_files
from callboard.projects.languages import Language, find_language
from callboard.projects.manifest import DeployWarning, Manifest, Stored
from callboard.projects.node.declared import compiler_digest
from callboard.projects.node.packages import check_npm_settings
from callboard.projects.project_settings import ProjectSettings
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
    """The contents of a project folder, as far as they are known without packages and without executing anything."""

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
    settings = _check_settings(folder).settings
    listed = list_project_files(folder)
    _check_logins(folder, settings, listed)
    find_apis(folder, listed)
    is_python = find_language(file.path for file in listed) is Language.PYTHON
    frozen = freeze_venv(folder) if is_python else None
    auth_sessions = find_auth_session_files(folder)
    # The compiled functions of a project in TypeScript come of its files, and of what compiles them.
    beside = "" if is_python else compiler_digest()
    if frozen is not None:
        beside = f"{frozen.python}\n{frozen.requirements}"
    version = pack(listed, bundle_in(scratch), extra=beside)
    # The manifest describes the files that were packed, as files of the folder may change at any time.
    files = files_in(scratch)
    extract(bundle_in(scratch), files)
    unpacked = list_unpacked_files(files)
    file = _check_settings(files)
    _check_logins(files, file.settings, unpacked)
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
            *(check_names(apis) if is_python else ()),
            *check_syntax(unpacked),
            *(check_declaration(files) if is_python else check_npm_settings(files)),
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
    return file


def _check_logins(folder: Path, settings: ProjectSettings, listed: Sequence[ProjectFile]) -> None:
    """Refuse a project without the functions of its logins."""
    if not settings.auth_sessions.enabled:
        return
    paths = {file.path for file in listed}
    suffixes = find_language(paths).suffixes
    # Code cannot create a login that a person recorded, so such a project has no create.
    names = ["create", "check"] if settings.auth_sessions.type == "API" else ["check"]
    missing = [
        f"auth-sessions/{name}{suffixes[0]}"
        for name in names
        if not any(f"auth-sessions/{name}{suffix}" in paths for suffix in suffixes)
    ]
    if missing:
        raise ProjectError(
            f"{folder}: authSessions.enabled is true, but the project has no {' and no '.join(missing)}. "
            "Create what is missing, or set authSessions.enabled to false."
        )
