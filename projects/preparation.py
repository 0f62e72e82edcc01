"""Reading and checking a project folder for a deploy, and packing it. Nothing of the project is executed."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from projects.api_descriptions import Described
from projects.apis import check_ignored, check_languages, check_names, check_syntax, find_apis
from projects.build import Built, check_built
from projects.bundle import extract, pack
from projects.code_checks import check_code, modules_in
from projects.declaration import check_declaration, freeze_venv, read_declaration
from projects.files import is_ignored_below
from projects.manifest import DeployWarning, Manifest, Stored
from projects.parameter_check import unchecked_keywords
from projects.resource_files import (
    check_ignored_resources,
    find_auth_session_files,
    find_job_files,
    usable_auth_sessions,
)
from projects.resources import Resources
from projects.settings_file import SettingsFile, read_settings_file, resolve_project_name
from projects.settings_syntax import SETTINGS_PARSERS
from schemas.errors import ProjectError
from schemas.workflow.deploy import FrozenVenv

_BUNDLE = "bundle.tar.gz"
_FILES = "files"


class Prepared(Stored):
    """What a project folder consists of, as far as that is known without packages and without executing anything."""

    manifest: Manifest
    resources: Resources
    frozen: FrozenVenv | None = None
    declares_dependencies: bool
    """Whether the version has an environment of its own, which has to be resolved and built."""


def bundle_in(scratch: Path) -> Path:
    """Return where `prepare` has written the bundle."""
    return scratch / _BUNDLE


def files_in(scratch: Path) -> Path:
    """Return where `prepare` has unpacked the files of the version."""
    return scratch / _FILES


def prepare(folder: Path, scratch: Path) -> Prepared:
    """Check the project in `folder`, and pack it into the folder `scratch`, which is created.

    Raises:
        ProjectError: The folder is not a valid project; the message names the file and what to do.
    """
    _check_project(folder)  # This comes first, so that most mistakes are found without the cost of packing.
    scratch.mkdir(mode=0o700)
    frozen = freeze_venv(folder)
    auth_sessions = find_auth_session_files(folder)
    beside = f"{frozen.python}\n{frozen.requirements}" if frozen is not None else ""
    version = pack(folder, bundle_in(scratch), extra=beside)
    # The manifest describes the files that were packed, as files of the folder may change at any time.
    files = files_in(scratch)
    extract(bundle_in(scratch), files)
    file, apis = _check_project(files)
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
            *check_languages(files),
            *check_ignored(folder),
            *check_names(apis),
            *check_syntax(files),
            *check_declaration(files),
        ),
        created_at=datetime.now(UTC),
    )
    declares = read_declaration(files, frozen) is not None
    return Prepared(manifest=manifest, resources=resources, frozen=frozen, declares_dependencies=declares)


def complete(prepared: Prepared, built: Built, scratch: Path) -> Manifest:
    """Return the manifest of a prepared version whose packages are built, with warnings about its code.

    Raises:
        ProjectError: What was built is not that version.
    """
    manifest, files = prepared.manifest, files_in(scratch)
    check_built(built, files, manifest.apis, prepared.frozen)
    dependencies, described = built.dependencies, built.described
    modules = modules_in(Path(sysconfig.get_path("platlib"))) if dependencies is None else dependencies.modules
    warnings = (
        *manifest.warnings,
        *(() if dependencies is None else dependencies.warnings),
        *check_code(files, manifest.apis, modules),
        *described.warnings,
        *(_check_schemas(described) if manifest.settings.api_access.validate_parameters else ()),
    )
    environment = None if dependencies is None else dependencies.environment
    return manifest.model_copy(update={"environment": environment, "warnings": warnings})


def _check_schemas(described: Described) -> Iterator[DeployWarning]:
    for api, description in described.apis.apis.items():
        if unchecked := unchecked_keywords(description.input_schema):
            message = f"starts are not checked by these keywords of its schema: {', '.join(sorted(unchecked))}"
            yield DeployWarning(file=f"api/{api}.py", message=message)


def _check_ignored_files(folder: Path, settings: str) -> Iterator[DeployWarning]:
    for other in SETTINGS_PARSERS:
        if other != settings and (folder / other).is_file():
            yield DeployWarning(file=other, message=f"ignored, as the settings are read from {settings}")


def _check_project(folder: Path) -> tuple[SettingsFile, list[str]]:
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
    return file, find_apis(folder)
