"""Settling the environment of a version at its deploy: it is resolved, and really built on this host."""

from __future__ import annotations

from pathlib import Path

from packaging.specifiers import SpecifierSet

from projects.code_checks import modules_in
from projects.declaration import read_declaration
from projects.environments import Environments
from projects.interpreters import OLDEST_PYTHON, choose_interpreter, satisfies
from projects.lock_resolution import pinned_playwright, resolve_lock
from projects.manifest import DeployWarning, OwnEnvironment, Stored
from projects.processes import run_in_thread
from projects.uv import CONFIGURATION_END
from schemas.errors import MachineError, ProjectError
from schemas.workflow.deploy import FrozenVenv
from storage import keys
from storage.store import Store


class ResolvedDependencies(Stored):
    """The environment that a version runs in."""

    environment: OwnEnvironment
    requirements: str
    """The list of packages, to store under the environment's declaration."""
    warnings: tuple[DeployWarning, ...] = ()
    modules: frozenset[str]
    """The top-level modules that can be imported in it, as it was built on this host."""
    python: Path
    site_packages: Path
    """Its interpreter, and where its packages are, on the host that has built it."""


def name_environment(files: Path, frozen: FrozenVenv | None) -> OwnEnvironment | None:
    """Return the environment of the project in `files`, by its declaration; None if it declares none.

    Raises:
        ProjectError: A file is not in the format that its name promises.
    """
    declaration = read_declaration(files, frozen)
    return declaration and OwnEnvironment(
        source=declaration.source,
        requires_python=declaration.requires_python,
        declaration=f"{declaration.digest[:32]}-{pinned_playwright().replace('==', '-')}",
    )


async def resolve_and_build(
    project: str, files: Path, frozen: FrozenVenv | None, store: Store, environments: Environments | None, scratch: Path
) -> ResolvedDependencies:
    """Resolve the dependencies of the project in `files`, which declares some, and build them here.

    A declaration that was deployed before keeps its list, so that a change of code does not change packages.

    Raises:
        ProjectError: They cannot be resolved or built; the message names the package and the reason.
        ConfigurationError: The settings want walls around that which cannot stand here, or are wrong.
        StoreError: The store refused.
    """
    declaration = await run_in_thread(read_declaration, files, frozen)
    own = await run_in_thread(name_environment, files, frozen)
    if declaration is None or own is None or environments is None:
        raise ValueError(f"the deploy of {project} needs the environments of a host, and a declaration of packages")
    await run_in_thread((scratch / CONFIGURATION_END).touch)
    wanted = SpecifierSet(declaration.requires_python or "")
    python = await choose_interpreter(wanted)
    stored = await store.get(keys.environment(project, own.declaration))
    if stored is None:
        uv = await environments.uv(project)
        requirements = await resolve_lock(declaration, files, frozen, python, scratch, uv)
    else:
        requirements = stored.decode()
    try:
        built = await environments.ensure(requirements, project=project, python=python, folder=files)
    except MachineError as error:
        raise ProjectError(f"{declaration.source}: {error.message}") from error
    warnings: tuple[DeployWarning, ...] = ()
    if not satisfies(python.version, wanted):
        missing = f"no Python {declaration.requires_python} is installed here that is also {OLDEST_PYTHON} or later"
        message = f"{missing}; the project runs on {python.version}"
        warnings = (DeployWarning(file=declaration.source, message=message),)
    modules = await run_in_thread(modules_in, built.site_packages)
    return ResolvedDependencies(
        environment=own,
        requirements=requirements,
        warnings=warnings,
        modules=modules,
        python=built.python,
        site_packages=built.site_packages,
    )
