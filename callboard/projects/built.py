"""What the host that builds a version's packages finds out about the version, and how that changes its manifest."""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Collection, Iterator
from pathlib import Path

from callboard.projects.apis import LOGIN
from callboard.projects.code_checks import check_imports, modules_in, source_of
from callboard.projects.declaration import name_environment
from callboard.projects.input_schemas import ApiDescriptions
from callboard.projects.manifest import DeployWarning, Manifest, NodeEnvironment, OwnEnvironment, Stored
from callboard.projects.node.declared import compiler_digest
from callboard.projects.node.packages import check_lock
from callboard.projects.parameter_check import SchemaError, check_schema, unchecked_keywords
from callboard.projects.sources import Sources
from callboard.schemas.errors import ProjectError

MOST_OF_VERSION = 256 * 1024
"""Most bytes of the schemas of all APIs of a version."""


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


class Described(Stored):
    """What was found out of the APIs of a version."""

    apis: ApiDescriptions
    warnings: tuple[DeployWarning, ...] = ()
    """One for each API of which an annotation could not be read."""


class CompiledCode(Stored):
    """What was found out of a version in TypeScript, beside the archive of its compiled functions."""

    environment: NodeEnvironment
    compiler: str
    """The digest of what has compiled it, which is a part of the version's name."""
    lock: str | None = None
    """The lock of its packages, to store under the name of their declaration; None if it declares none."""
    warnings: tuple[DeployWarning, ...] = ()


class Built(Stored):
    """What was found out of a version where its packages were built."""

    dependencies: ResolvedDependencies | None = None
    """The environment of the version; None if it declares none."""
    compiled: CompiledCode | None = None
    """What was found out of a version in TypeScript; None if it is in Python."""
    described: Described


def complete(manifest: Manifest, sources: Sources, built: Built) -> Manifest:
    """Return the manifest of a prepared version whose packages are built, with warnings about its code.

    What was built may be the word of a host that was taken over. What packages the version gets is that host's word.
    But it can neither have npm follow addresses, nor have an api follow references in schemas.

    Raises:
        ProjectError: What was built is not that version.
    """
    dependencies, described = built.dependencies, built.described
    environment = dependencies and dependencies.environment
    try:
        _check_described(described, manifest.apis)
    except SchemaError as error:
        raise ProjectError(f"The worker that has built the version has told what cannot be: {error}.") from error
    if environment != name_environment(sources.declaration):
        raise _other_packages()
    compiled, node = built.compiled, sources.node
    if (compiled is None) is not (node is None):
        raise ProjectError("The worker that has built the version has taken it for one in another language.")
    declared = node and node.packages and node.packages.declaration
    if compiled is not None:
        if compiled.environment.declaration != declared or compiled.compiler != compiler_digest():
            raise _other_packages()
        if compiled.lock is not None:
            check_lock(compiled.lock)
    modules = modules_in(Path(sysconfig.get_path("platlib"))) if dependencies is None else dependencies.modules
    warnings = (
        *manifest.warnings,
        *(() if dependencies is None else dependencies.warnings),
        *(() if compiled is None else compiled.warnings),
        *check_imports(sources.code, modules),
        *described.warnings,
        *(_check_schemas(described, sources) if manifest.settings.api_access.validate_parameters else ()),
    )
    found = environment if compiled is None else compiled.environment
    return manifest.model_copy(update={"environment": found, "warnings": warnings})


def _other_packages() -> ProjectError:
    return ProjectError(
        "The worker that has built the version has named other packages than it declares, or is one of another "
        "version of Callboard. Deploy again when all workers have the same."
    )


def _check_described(described: Described, apis: Collection[str]) -> None:
    known = described.apis.apis.values()
    schemas = [schema for each in known for schema in (each.input_schema, each.result_schema) if schema is not None]
    if not {*apis, LOGIN}.issuperset(described.apis.apis):
        raise SchemaError("the version has no such API")
    if sum(len(json.dumps(schema)) for schema in schemas) > MOST_OF_VERSION:
        raise too_many_schemas()
    for each in known:
        if each.input_schema is not None:
            check_schema(each.input_schema)
        if each.result_schema is not None:
            check_schema(each.result_schema, of_object=False)


def too_many_schemas() -> SchemaError:
    """Return the error for schemas that are too large together."""
    return SchemaError(f"the schemas of all APIs have more than {MOST_OF_VERSION // 1024} KiB together")


def _check_schemas(described: Described, sources: Sources) -> Iterator[DeployWarning]:
    functions = {} if sources.node is None else sources.node.functions
    for api, description in described.apis.apis.items():
        if unchecked := unchecked_keywords(description.input_schema):
            message = f"starts are not checked by these keywords of its schema: {', '.join(sorted(unchecked))}"
            yield DeployWarning(file=functions.get(f"api/{api}", source_of(api)), message=message)
