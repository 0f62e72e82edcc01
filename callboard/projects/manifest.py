"""The manifest that is stored beside a version's files, and the pointer to the deployed version."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from callboard.projects.project_settings import ProjectSettings
from callboard.schemas.errors import StoreError
from callboard.storage import object_keys
from callboard.storage.store import Store

_VERSION = re.compile(r"[0-9a-f]{16}")


def is_version(text: str) -> bool:
    """Tell whether `text` has the form of a version: the first 16 hexadecimal digits of its files' hash."""
    return _VERSION.fullmatch(text) is not None


class Stored(BaseModel):
    """A frozen model with camelCase keys. Unknown keys are ignored, as a newer Callboard may have written them."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)

    def to_bytes(self) -> bytes:
        """Return the object as it is stored."""
        return self.model_dump_json(by_alias=True, exclude_none=True, indent=2).encode() + b"\n"


class DeployWarning(Stored):
    """Something in a project that will not work, but does not prevent the rest from working."""

    file: str
    line: int | None = None
    message: str
    unparsed: bool = False
    """Whether it is that the file does not parse."""

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}, line {self.line}"
        return f"{where}: {self.message}"


class OwnEnvironment(Stored):
    """The environment of Python that a version runs in, if it does not run in Callboard's own."""

    source: str
    """Source of its declaration: `pyproject.toml`, `requirements.txt` or `.venv`."""
    requires_python: str | None = None
    declaration: str
    """Name of the list of its packages, which is at `projects/{project}/environments/{declaration}.txt`."""


class NodeEnvironment(Stored):
    """The environment of a version in TypeScript. That a version has one is what makes it TypeScript."""

    language: Literal["typescript"]
    declaration: str | None = None
    """Name of the lock of its packages, as in `OwnEnvironment`; None if it declares none but Callboard's own."""
    installed: bool = False
    """Whether workers install packages by that lock. If not, all that it needs is in its compiled code."""


class Manifest(Stored):
    """A version of a project, stored as `projects/{project}/versions/{version}/manifest.json`."""

    project: str
    version: str
    settings: ProjectSettings
    apis: tuple[str, ...]
    warnings: tuple[DeployWarning, ...] = ()
    environment: OwnEnvironment | NodeEnvironment | None = None
    created_at: AwareDatetime
    """Time at which this version was first deployed."""


class Current(Stored):
    """The pointer to the deployed version of a project, stored as `projects/{project}/current.json`."""

    version: str
    deployed_at: AwareDatetime
    has_resources: bool = False
    """Whether this version, or one before it, has files of Jobs or AuthSessions: workers make what exists agree with
    them."""
    before: tuple[str, ...] = ()
    """The versions that rollbacks return to, the next one first."""
    record: str | None = None
    """`DeployRecord.id` of what has moved the pointer here."""


class LastDeploy(Stored):
    """The note of the latest deploy, stored as `projects/last-deploy.json`: it tells readers that something changed."""

    project: str
    version: str | None = None
    """None if the project is being deleted."""
    deployed_at: AwareDatetime
    id: str
    """A value that no other deploy has, also if two end at the same moment."""


async def read_current(store: Store, project: str) -> Current | None:
    """Return the pointer to the deployed version, or None if the project was never deployed."""
    return parse_stored(Current, project, await store.get(object_keys.current_version(project)))


async def read_manifest(store: Store, project: str, version: str) -> Manifest | None:
    """Return the manifest of a version, or None if there is no such version."""
    return parse_stored(Manifest, project, await store.get(object_keys.manifest(project, version)))


def parse_stored[M: Stored](model: type[M], project: str, data: bytes | None) -> M | None:
    """Return what a deploy has stored; None if there is no such object. Raises StoreError if it is damaged."""
    if data is None:
        return None
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise StoreError(
            f"The {model.__name__.lower()}.json of project {project!r} in the artifact store is damaged "
            f"({where}: {first['msg']}). Deploy the project again."
        ) from error
