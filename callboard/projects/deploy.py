"""Deploying: publishing the current folder of a project as a version.

The order of the steps makes it safe to fail anywhere: nothing is written before the whole project is known to be valid,
and the pointer to the version moves last, when all that it points to is stored.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from callboard.projects.bounded import run_bounded
from callboard.projects.build import build, compiled_in
from callboard.projects.built import Built, complete
from callboard.projects.environments import Environments
from callboard.projects.files import folders_of
from callboard.projects.machine_limit import check_machine_limit
from callboard.projects.manifest import Manifest
from callboard.projects.node.compiled import add_compiled
from callboard.projects.pointer import DeployRecord, move_pointer, put_record, refuse_if_deleting
from callboard.projects.preparation import Prepared, bundle_in, files_in, prepare
from callboard.projects.processes import run_in_thread
from callboard.projects.version_history import VersionFiles
from callboard.storage import object_keys
from callboard.storage.store import Store


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
    accept: Callable[[Manifest], None] | None = None,
) -> Manifest:
    """Publish the project in `folder`, and return its manifest with warnings about what will not work.

    The same files are the same version: deploying them again only moves the pointer.

    Args:
        folder: The project folder.
        store: The artifact store.
        environments: The environments of this host. The environment of a project that declares dependencies is built
            there, where workers of this host find it, and its code is executed in their box to read annotations. None:
            for projects that declare no dependencies; then APIs have no schemas.
        max_machines: How many Machines all projects may have together; None for any number.
        by: Who deploys, for the record of the deploy.
        message: What the deploy is about, for the record.
        commit: The commit that the folder is at, for the record.
        promote: Whether the version becomes the one that is deployed. If not, it is only stored.
        accept: Is given the manifest before anything is built, and may raise an error against it.

    Raises:
        ProjectError: The folder is not a valid project, its dependencies cannot be installed, or all projects together
            would have too many Machines; nothing has been written.
        ConfigurationError: The settings want walls around uv that cannot stand here, or are wrong.
        StoreError: The store refused; the version that was deployed before still is.
    """
    # The folder is named before it is created, so that it is removed whatever happens from then on.
    scratch = Path(await asyncio.to_thread(tempfile.gettempdir)) / f"callboard-deploy-{uuid.uuid4().hex}"
    try:
        await run_in_thread(scratch.mkdir, mode=0o700)
        folders = await run_in_thread(folders_of, folder)
        prepared = await run_bounded(prepare, folders[0], scratch, read=folders, write=[scratch])
        if accept is not None:
            accept(prepared.manifest)
        await refuse_if_deleting(store, prepared.manifest.project)
        if promote and max_machines is not None:
            await check_machine_limit(store, prepared.manifest, max_machines)
        built = await build(
            prepared.manifest.project,
            files_in(scratch),
            prepared.sources,
            prepared.frozen,
            store,
            environments,
            scratch,
        )
        if (node := prepared.sources.node) is not None:
            made, functions = compiled_in(scratch), list(node.functions)
            await run_bounded(add_compiled, made, functions, files_in(scratch), bundle_in(scratch), write=[scratch])
        manifest = await run_in_thread(complete, prepared.manifest, prepared.sources, built)
        manifest = await store_version(store, manifest, prepared, built, bundle_in(scratch))
    finally:
        await run_in_thread(shutil.rmtree, scratch, ignore_errors=True)
    record = DeployRecord(
        id=uuid.uuid4().hex,
        version=manifest.version,
        action="deploy",
        promoted=promote,
        at=datetime.now(UTC),
        by=by,
        message=message,
        commit=commit,
    )
    await refuse_if_deleting(store, manifest.project)
    await (move_pointer if promote else put_record)(store, manifest.project, record)
    return manifest


async def store_version(store: Store, manifest: Manifest, prepared: Prepared, built: Built, bundle: Path) -> Manifest:
    """Store a version that is known to be valid, and return its manifest as it is stored.

    Raises:
        StoreError: The store refused.
    """
    project, version, resources = manifest.project, manifest.version, prepared.resources
    if built.dependencies is not None:
        environment = built.dependencies.environment
        await _store_packages(store, project, environment.declaration, built.dependencies.requirements)
    packages = prepared.sources.node and prepared.sources.node.packages
    if packages is not None and built.compiled is not None and built.compiled.lock is not None:
        await _store_packages(store, project, packages.declaration, built.compiled.lock)
    # A version that there is keeps its bundle. Without a manifest, the bundle is no version, or not the whole of one.
    keys = object_keys.manifest(project, version), object_keys.bundle(project, version)
    if not all([await store.exists(key) for key in keys]):
        await store.put_file(object_keys.bundle(project, version), bundle)
    await store.put(object_keys.input_schemas(project, version), built.described.apis.to_bytes())
    if not await store.exists(object_keys.version_files(project, version)):
        await store.put(object_keys.version_files(project, version), VersionFiles(files=prepared.hashes).to_bytes())
    manifest = _matching_manifest(await store.get(object_keys.manifest(project, version)), manifest) or manifest
    # It is also written if it is there: its date tells since when nobody may need it any more.
    await store.put(object_keys.manifest(project, version), manifest.to_bytes())
    if resources or await store.exists(object_keys.resources(project, version)):
        await store.put(object_keys.resources(project, version), resources.to_bytes())
    return manifest


async def _store_packages(store: Store, project: str, declaration: str, packages: str) -> None:
    """Store the packages of a declaration, unless they are stored: other versions may have the same declaration."""
    key = object_keys.environment(project, declaration)
    stored = await store.get(key)
    # They are also written if they are there: their date keeps them, as that of a manifest does.
    await store.put(key, packages.encode() if stored is None else stored)


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
