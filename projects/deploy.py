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
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from projects.apis import check_ignored, check_languages, check_names, check_syntax, find_apis
from projects.bundle import extract, pack
from projects.catalog import Catalog
from projects.code_checks import check_code
from projects.declaration import FrozenVenv, check_declaration, freeze_venv
from projects.dependencies import resolve_and_build
from projects.environments import Environments
from projects.files import is_ignored_below
from projects.manifest import Current, DeployWarning, LastDeploy, Manifest
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
from schemas.errors import ProjectError, StoreError
from storage import keys
from storage.store import Store

_BUNDLE = "bundle.tar.gz"
_MOST_NAMES = 5
"""How many other projects an error about too many Machines names."""


async def deploy(
    folder: Path, store: Store, environments: Environments | None = None, *, max_machines: int | None = None
) -> Manifest:
    """Publish the project in `folder`, and return its manifest with warnings about what will not work.

    The same files are the same version: deploying them again only moves the pointer.

    Args:
        folder: The project folder.
        store: The artifact store.
        environments: The environments of this host. The environment of a project that declares dependencies is built
            there, where workers of this host find it. None: for projects that declare none.
        max_machines: How many Machines all projects may have together; None for any number.

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
        if max_machines is not None:
            await _check_machine_limit(store, manifest, max_machines)
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
        earlier = _matching_manifest(await store.get(keys.manifest(project, version)), manifest)
        if earlier is None:
            await store.put(keys.manifest(project, version), manifest.to_bytes())
        if resources or await store.exists(keys.resources(project, version)):
            await store.put(keys.resources(project, version), resources.to_bytes())
        has_resources = bool(resources) or await _had_resources(store, project)
        now = datetime.now(UTC)
        current = Current(version=version, deployed_at=now, has_resources=has_resources)
        await store.put(keys.current_version(project), current.to_bytes())
    finally:
        await run_in_thread(shutil.rmtree, scratch, ignore_errors=True)
    # The note comes after the pointer: whoever has read the note before looks at the pointer again.
    note = LastDeploy(project=project, version=version, deployed_at=now, id=uuid.uuid4().hex)
    await store.put(keys.LAST_DEPLOY, note.to_bytes())
    return earlier or manifest


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


async def _had_resources(store: Store, project: str) -> bool:
    """Tell whether there may be Jobs or AuthSessions of files of the version that is still deployed.

    A damaged pointer tells nothing, and this deploy repairs it.
    """
    data = await store.get(keys.current_version(project))
    try:
        return data is not None and Current.model_validate_json(data).has_resources
    except ValidationError:
        return True


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


async def _check_machine_limit(store: Store, manifest: Manifest, limit: int) -> None:
    """Refuse a deploy if what is deployed of other projects leaves too few Machines for it.

    A project that gets no more than it has is let through: it may be mended after the limit was lowered. Deploys at the
    same time do not see each other: workers keep to the limit whatever is deployed (`limit_sizes` in
    `workflows/allocation.py`).

    Raises:
        ProjectError: All projects together would have more than the limit.
        StoreError: The store failed, or the version of another project is damaged.
    """
    catalog = Catalog(store)
    projects = [name for name in await catalog.list_projects() if name != manifest.project]
    deployed = await asyncio.gather(*(catalog.get_current(project) for project in projects))
    others = {other.project: other.settings.machines for other in deployed if other is not None}
    before = None
    with suppress(StoreError):  # its files may be damaged: this deploy replaces them
        before = await catalog.get_current(manifest.project)
    asked, taken = manifest.settings.machines, sum(others.values())
    if taken + asked <= limit or (before is not None and asked <= before.settings.machines):
        return
    having = f"The other projects have {taken} ({_name_some(others)}), so" if others else "So"
    raise ProjectError(
        f"{manifest.project} asks for {asked} Machines (replication.maxConcurrentRequests), and all projects together"
        f" may have {limit} (CALLBOARD_MAX_MACHINES). {having} {max(0, limit - taken)} can be had. Lower the number of"
        f" {manifest.project} or of another project, or raise the limit."
    )


def _name_some(machines: Mapping[str, int]) -> str:
    """Return the projects with their Machines, the largest first."""
    largest = sorted(machines.items(), key=lambda item: (-item[1], item[0]))
    named = [f"{project}: {count}" for project, count in largest[:_MOST_NAMES]]
    if rest := largest[_MOST_NAMES:]:
        named.append(f"{len(rest)} more: {sum(count for _, count in rest)}")
    return ", ".join(named)
