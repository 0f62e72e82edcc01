"""What of a deploy needs the project's packages or its code: both are used in a box only."""

from __future__ import annotations

from pathlib import Path

from callboard.projects.api_descriptions import describe_apis
from callboard.projects.built import Built
from callboard.projects.dependencies import resolve_and_build
from callboard.projects.environments import Environments
from callboard.projects.sources import Sources
from callboard.schemas.workflow.deploy import FrozenVenv
from callboard.storage.store import Store


async def build(
    project: str,
    files: Path,
    sources: Sources,
    frozen: FrozenVenv | None,
    store: Store,
    environments: Environments | None,
    scratch: Path,
) -> Built:
    """Resolve and build the packages of a version here, and read what its APIs take.

    Args:
        project: The project.
        files: The unpacked version. Nothing is written there.
        sources: What its text says.
        frozen: What the project's `.venv` has, if that is its declaration.
        store: The artifact store.
        environments: The environments of this host. None: for projects that declare none; then APIs have no schemas.
        scratch: A folder for files of the boxes, which exists.

    Raises:
        ProjectError: The packages cannot be resolved or built; the message names the package and the reason.
        ConfigurationError: The settings want walls around uv that cannot stand here, or are wrong.
        StoreError: The store refused.
    """
    dependencies = None
    if (declaration := sources.declaration) is not None:
        dependencies = await resolve_and_build(project, files, declaration, frozen, store, environments, scratch)
    box = environments and environments.box
    described = await describe_apis(files, sources.code, dependencies, box, scratch)
    return Built(dependencies=dependencies, described=described)
