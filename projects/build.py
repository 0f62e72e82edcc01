"""What of a deploy needs the project's packages or its code: both are used in a box only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from projects.api_descriptions import Described, check_described, describe_apis
from projects.dependencies import ResolvedDependencies, name_environment, resolve_and_build
from projects.environments import Environments
from projects.manifest import Stored
from projects.parameter_check import SchemaError
from schemas.errors import ProjectError
from schemas.workflow.deploy import FrozenVenv
from storage.store import Store


class Built(Stored):
    """What was found out of a version where its packages were built."""

    dependencies: ResolvedDependencies | None = None
    """The environment of the version; None if it declares none."""
    described: Described


async def build(
    project: str,
    files: Path,
    apis: Sequence[str],
    frozen: FrozenVenv | None,
    store: Store,
    environments: Environments | None,
    scratch: Path,
    *,
    declares_dependencies: bool,
) -> Built:
    """Resolve and build the packages of a version here, and read what its APIs take.

    Args:
        project: The project.
        files: The unpacked version. Nothing is written there.
        apis: The names of its APIs.
        frozen: What the project's `.venv` has, if that is its declaration.
        store: The artifact store.
        environments: The environments of this host. None: for projects that declare none; then APIs have no schemas.
        scratch: A folder for files of the boxes, which exists.
        declares_dependencies: Whether the version has an environment of its own.

    Raises:
        ProjectError: The packages cannot be resolved or built; the message names the package and the reason.
        ConfigurationError: The settings want walls around uv that cannot stand here, or are wrong.
        StoreError: The store refused.
    """
    dependencies = None
    if declares_dependencies:
        dependencies = await resolve_and_build(project, files, frozen, store, environments, scratch)
    box = environments and environments.box
    return Built(dependencies=dependencies, described=await describe_apis(files, apis, dependencies, box, scratch))


def check_built(built: Built, files: Path, apis: Sequence[str], frozen: FrozenVenv | None) -> None:
    """Check what the host that has built a version says of it, as it may have been taken over.

    What packages the version gets is its word. But it can neither give other versions other ones, nor have an api
    follow references in schemas.

    Raises:
        ProjectError: `build` would not say so of this version.
    """
    environment = built.dependencies and built.dependencies.environment
    try:
        check_described(built.described, apis)
    except SchemaError as error:
        raise ProjectError(f"The worker that has built the version has told what cannot be: {error}.") from error
    if environment != name_environment(files, frozen):
        raise ProjectError(
            "The worker that has built the version has named other packages than it declares, or is one of another "
            "version of Callboard. Deploy again when all workers have the same."
        )
