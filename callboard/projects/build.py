"""The steps of a deploy that build packages or execute code of the project. They run on this host, in a box only."""

from __future__ import annotations

from pathlib import Path

from packaging.specifiers import SpecifierSet

from callboard.projects.api_descriptions import describe_apis, described, read_lines
from callboard.projects.bounded import run_bounded
from callboard.projects.built import Built, CompiledCode, ResolvedDependencies
from callboard.projects.code_checks import modules_in
from callboard.projects.declaration import Declaration, name_environment, satisfies
from callboard.projects.environments import Environments
from callboard.projects.interpreters import OLDEST_PYTHON, choose_interpreter
from callboard.projects.languages import PACKAGE_JSON
from callboard.projects.lock_resolution import resolve_lock
from callboard.projects.manifest import DeployWarning, NodeEnvironment
from callboard.projects.node.compiled import pack_compiled
from callboard.projects.node.compiler import NodeBox, compile_functions
from callboard.projects.node.declared import NodeProject, compiler_digest
from callboard.projects.processes import run_in_thread
from callboard.projects.sources import Sources
from callboard.projects.uv import CONFIGURATION_END
from callboard.schemas.errors import MachineError, ProjectError
from callboard.schemas.workflow.deploy import FrozenVenv
from callboard.storage import object_keys
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
    """Resolve and build the packages of a version here, compile it, and read what its APIs take.

    What is compiled of a project in TypeScript is in the archive `compiled_in(scratch)` when this returns.

    Args:
        project: The project.
        files: The unpacked version. Nothing is written there.
        sources: What its text says.
        frozen: What the project's `.venv` has, if that is its declaration.
        store: The artifact store.
        environments: The environments of this host. None: for projects that declare none; then APIs have no schemas.
        scratch: A folder for files of the boxes, which exists.

    Raises:
        ProjectError: The packages cannot be resolved or built, or the code does not compile; the message names the
            package, or the file and the line, and the reason.
        ConfigurationError: The settings want walls around uv that cannot stand here, or are wrong.
        StoreError: The store refused.
    """
    if sources.node is not None:
        return await _compile(project, files, sources.node, store, environments, scratch)
    dependencies = None
    if (declaration := sources.declaration) is not None:
        dependencies = await _resolve_and_build(project, files, declaration, frozen, store, environments, scratch)
    box = environments and environments.box
    return Built(
        dependencies=dependencies, described=await describe_apis(files, sources.code, dependencies, box, scratch)
    )


def compiled_in(scratch: Path) -> Path:
    """Return where `build` has written the compiled functions of a project in TypeScript."""
    return scratch / "compiled.tar.gz"


async def _compile(
    project: str, files: Path, node: NodeProject, store: Store, environments: Environments | None, scratch: Path
) -> Built:
    """Install the packages of the project in `files`, compile its functions, and read what its APIs take.

    A declaration that was deployed before keeps its lock, so that a change of code does not change packages.

    Raises:
        ProjectError: The packages cannot be installed, the functions do not compile, or a file has none.
        ConfigurationError: The settings want walls around that which cannot stand here, or are wrong.
        StoreError: The store refused.
    """
    if environments is None:
        raise ValueError(f"the deploy of {project} needs the environments of a host")
    lock = modules = None
    if (packages := node.packages) is not None:
        stored = await store.get(object_keys.environment(project, packages.declaration))
        lock = stored and stored.decode()
        lock = lock or await environments.lock_modules(packages, project=project, folder=files)
        try:
            modules = await environments.ensure_modules(lock, packages, project=project, folder=files)
        except MachineError as error:
            raise ProjectError(f"{PACKAGE_JSON}: {error.message}") from error
    folder = scratch / "compiled"
    made = await compile_functions(files, node.functions, NodeBox(environments.box, scratch), folder, modules)
    await run_in_thread(pack_compiled, folder, compiled_in(scratch))
    declaration = packages and packages.declaration
    environment = NodeEnvironment(language="typescript", declaration=declaration, installed=bool(made.outside))
    files_of = {name.removeprefix("api/"): file for name, file in node.functions.items()}
    return Built(
        compiled=CompiledCode(environment=environment, compiler=compiler_digest(), lock=lock, warnings=made.warnings),
        described=described(await read_lines(made.parameters), files=files_of),
    )


async def _resolve_and_build(
    project: str,
    files: Path,
    declaration: Declaration,
    frozen: FrozenVenv | None,
    store: Store,
    environments: Environments | None,
    scratch: Path,
) -> ResolvedDependencies:
    """Resolve the dependencies that the project in `files` declares, and build them here.

    A declaration that was deployed before keeps its list, so that a change of code does not change packages.

    Raises:
        ProjectError: They cannot be resolved or built; the message names the package and the reason.
        ConfigurationError: The settings want walls around that which cannot stand here, or are wrong.
        StoreError: The store refused.
    """
    own = name_environment(declaration)
    if own is None or environments is None:
        raise ValueError(f"the deploy of {project} needs the environments of a host")
    await run_in_thread((scratch / CONFIGURATION_END).touch)
    wanted = SpecifierSet(declaration.requires_python or "")
    python = await choose_interpreter(wanted)
    stored = await store.get(object_keys.environment(project, own.declaration))
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
    modules = await run_bounded(modules_in, built.site_packages, read=[built.site_packages])
    return ResolvedDependencies(
        environment=own,
        requirements=requirements,
        warnings=warnings,
        modules=modules,
        python=built.python,
        site_packages=built.site_packages,
    )
