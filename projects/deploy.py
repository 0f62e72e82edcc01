"""Deploying: publishing the current folder of a project as a version.

The order of the steps makes it safe to fail anywhere: nothing is written before the whole project is known to be valid,
and the pointer to the version moves last, when all that it points to is stored.
"""

from __future__ import annotations

import asyncio
import shutil
import sysconfig
import tempfile
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from projects.apis import check_ignored, check_languages, check_names, check_syntax, find_apis
from projects.bundle import extract, pack
from projects.code_checks import check_code
from projects.declaration import FrozenVenv, check_declaration, freeze_venv
from projects.dependencies import resolve_and_build
from projects.environments import Environments
from projects.files import is_ignored_below
from projects.machine_limit import check_machine_limit
from projects.manifest import DeployWarning, Manifest
from projects.pointer import DeployRecord, move_pointer, put_record
from projects.processes import run_in_thread
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
from storage import keys
from storage.store import Store

_BUNDLE = "bundle.tar.gz"


async def deploy(
    folder: Path,
    store: Store,
    environments: Environments | None = None,
    *,
    max_machines: int | None = None,
    by: str | None = None,
    message: str | None = None,
    commit: str | None = None,
    promote: bool = True,
) -> Manifest:
    """Publish the project in `folder`, and return its manifest with warnings about what will not work.

    The same files are the same version: deploying them again only moves the pointer.

    Args:
        folder: The project folder.
        store: The artifact store.
        environments: The environments of this host. The environment of a project that declares dependencies is built
            there, where workers of this host find it. None: for projects that declare none.
        max_machines: How many Machines all projects may have together; None for any number.
        by: Who deploys, for the record of the deploy.
        message: What the deploy is about, for the record.
        commit: The commit that the folder is at, for the record.
        promote: Whether the version becomes the one that is deployed. If not, it is only stored.

    Raises:
        ProjectError: The folder is not a valid project, its dependencies cannot be installed, or all projects together
            would have too many Machines; nothing has been written.
        ConfigurationError: The settings want walls around uv that cannot stand here, or are wrong.
        StoreError: The store refused; the version that was deployed before still is.
    """
    # The folder is named before it is created, so that it is removed whatever happens from then on.
    scratch = Path(await asyncio.to_thread(tempfile.gettempdir)) / f"callboard-deploy-{uuid.uuid4().hex}"
    try:
        frozen = await freeze_venv(folder)
        manifest, resources = await run_in_thread(_prepare, folder, scratch, frozen)
        project, version = manifest.project, manifest.version
        if promote and max_machines is not None:
            await check_machine_limit(store, manifest, max_machines)
        dependencies = await resolve_and_build(project, scratch / "files", frozen, store, environments, scratch)
        packages, unmet = Path(sysconfig.get_path("platlib")), tuple[DeployWarning, ...]()
        if dependencies is not None:
            packages, unmet, own = dependencies.site_packages, dependencies.warnings, dependencies.environment
            manifest = manifest.model_copy(update={"environment": own})
        of_code = await run_in_thread(check_code, scratch / "files", manifest.apis, packages)
        manifest = manifest.model_copy(update={"warnings": (*manifest.warnings, *unmet, *of_code)})
        if dependencies is not None:
            key = keys.environment(project, dependencies.environment.declaration)
            await store.put(key, dependencies.requirements.encode())
        if not await store.exists(keys.bundle(project, version)):
            await store.put_file(keys.bundle(project, version), scratch / _BUNDLE)
        manifest = _matching_manifest(await store.get(keys.manifest(project, version)), manifest) or manifest
        # It is also written if it is there: its date tells since when nobody may need it any more.
        await store.put(keys.manifest(project, version), manifest.to_bytes())
        if resources or await store.exists(keys.resources(project, version)):
            await store.put(keys.resources(project, version), resources.to_bytes())
    finally:
        await run_in_thread(shutil.rmtree, scratch, ignore_errors=True)
    record = DeployRecord(
        id=uuid.uuid4().hex,
        version=version,
        action="deploy",
        promoted=promote,
        at=datetime.now(UTC),
        by=by,
        message=message,
        commit=commit,
    )
    await (move_pointer if promote else put_record)(store, project, record)
    return manifest


def _matching_manifest(stored: bytes | None, manifest: Manifest) -> Manifest | None:
    """Return the stored manifest if it equals `manifest` except for its date, else None.

    They differ if the stored one is damaged, or if a Callboard that knew fewer settings has read the same files.
    """
    if stored is None:
        return None
    try:
        earlier = Manifest.model_validate_json(stored)
    except ValidationError:
        return None
    return earlier if earlier == manifest.model_copy(update={"created_at": earlier.created_at}) else None


def _prepare(folder: Path, scratch: Path, frozen: FrozenVenv | None) -> tuple[Manifest, Resources]:
    _check_project(folder)  # This comes first, so that most mistakes are found without the cost of packing.
    scratch.mkdir(mode=0o700)
    auth_sessions = find_auth_session_files(folder)
    beside = f"{frozen.python}\n{frozen.requirements}" if frozen is not None else ""
    version = pack(folder, scratch / _BUNDLE, extra=beside)
    # The manifest describes the files that were packed, as files of the folder may change at any time.
    extract(scratch / _BUNDLE, scratch / "files")
    file, apis = _check_project(scratch / "files")
    resources = Resources(
        jobs=tuple(find_job_files(scratch / "files", file.settings, apis)),
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
            *check_languages(scratch / "files"),
            *check_ignored(folder),
            *check_names(apis),
            *check_syntax(scratch / "files"),
            *check_declaration(scratch / "files"),
        ),
        created_at=datetime.now(UTC),
    )
    return manifest, resources


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
