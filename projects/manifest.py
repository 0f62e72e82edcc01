"""What is written down beside a version's files, and the pointer to the version that is deployed."""

from __future__ import annotations

import re

from pydantic import AwareDatetime, BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from projects.settings import ProjectSettings

_VERSION = re.compile(r"[0-9a-f]{16}")


def is_version(text: str) -> bool:
    """Whether `text` has the form of a version: the first 16 hexadecimal digits of its files' hash."""
    return _VERSION.fullmatch(text) is not None


class _Stored(BaseModel):
    """Frozen, camelCase in the store; unknown keys are ignored, as a newer Callboard may have written it."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)

    def to_bytes(self) -> bytes:
        """The object as it lies in the store."""
        return self.model_dump_json(by_alias=True, exclude_none=True, indent=2).encode() + b"\n"


class DeployWarning(_Stored):
    """Something in a project that will not work, but does not stand in the way of the rest."""

    file: str
    line: int | None = None
    message: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}, line {self.line}"
        return f"{where}: {self.message}"


class OwnEnvironment(_Stored):
    """The environment that a version runs in, if not in Callboard's own."""

    source: str
    """What declares it: `pyproject.toml`, `requirements.txt` or `.venv`."""
    requires_python: str | None = None
    declaration: str
    """Names the list of its packages: `projects/{project}/environments/{declaration}.txt`."""


class Manifest(_Stored):
    """A version of a project: `projects/{project}/versions/{version}/manifest.json`."""

    project: str
    version: str
    settings: ProjectSettings
    apis: tuple[str, ...]
    warnings: tuple[DeployWarning, ...] = ()
    environment: OwnEnvironment | None = None
    created_at: AwareDatetime
    """When this version was deployed first."""


class Current(_Stored):
    """Which version of a project is deployed: `projects/{project}/current.json`."""

    version: str
    deployed_at: AwareDatetime
