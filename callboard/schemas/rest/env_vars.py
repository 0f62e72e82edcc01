"""Environment variables of projects and of the workspace: what is set, and answered (docs/contract.md, section 19)."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, FailFast, Field, JsonValue

from callboard.schemas.errors import BadRequest
from callboard.schemas.rest.base import Flag, RequestModel, ResponseModel, expected_error, expects

VALUE_LIMIT = 32 * 1024
"""Most bytes of a value, in UTF-8."""
TOGETHER_LIMIT = 64 * 1024
"""Most bytes of all names and values of a project, and of the workspace."""
_NAME_LIMIT = 128

_NAME = re.compile(rf"[A-Z_][A-Z0-9_]{{0,{_NAME_LIMIT - 1}}}", re.ASCII)
_NAME_RULE = (
    f"A name has at most {_NAME_LIMIT} capital letters, digits and underscores, and does not begin with a digit."
)
_RESERVED = frozenset({"PATH", "HOME", "TMPDIR", "LANG", "TRACEPARENT"})
"""Names that Callboard gives to user code itself."""
_RESERVED_PREFIXES = ("LD_", "PYTHON", "NODE_", "PLAYWRIGHT_", "CALLBOARD_")
"""Prefixes of names that change the interpreter, Playwright or Callboard."""
_RESERVED_RULE = (
    f"{', '.join(sorted(_RESERVED))} and names that begin with {', '.join(_RESERVED_PREFIXES)} cannot be set, "
    "because they change the interpreter, Playwright or Callboard."
)


class VariableScope(StrEnum):
    """Where a variable is seen."""

    AUTHORING = "AUTHORING"
    """By `callboard dev` and `callboard run`."""
    PUBLISHED = "PUBLISHED"
    """By deployed projects."""

    @classmethod
    def seen_in(cls, environment: Literal["dev", "deployed"]) -> VariableScope:
        """Return the scope that Attempts of an installation see, by its setting `environment`."""
        return cls.AUTHORING if environment == "dev" else cls.PUBLISHED


def is_variable_name(name: str) -> bool:
    """Tell whether a variable may have this name, so that it may be part of a key of the store."""
    return _NAME.fullmatch(name) is not None


def check_variable_name(name: str) -> None:
    """Raise BadRequest if a variable cannot be set under this name; the message says the rule."""
    for broken, rule in (
        (not is_variable_name(name), _NAME_RULE),
        (name in _RESERVED or name.startswith(_RESERVED_PREFIXES), _RESERVED_RULE),
    ):
        if broken:
            raise BadRequest(f"name: {rule}", details={"path": "name", "expected": rule})


def _check_value(value: str) -> str:
    # The sentence, and never the value, is in the error.
    if "\0" in value or len(value.encode("utf-8", "surrogatepass")) > VALUE_LIMIT:
        raise expected_error(f"a text of at most {VALUE_LIMIT} bytes, without the character NUL")
    return value


def _sorted_scopes(scopes: list[VariableScope]) -> list[VariableScope]:
    return sorted(set(scopes))


Scopes = Annotated[
    list[Annotated[VariableScope, Field(strict=False)]],
    FailFast(),
    Field(min_length=1),
    AfterValidator(_sorted_scopes),
    expects("a list of AUTHORING and PUBLISHED, with at least one of them"),
]


class SetVariable(RequestModel):
    """The body that sets an environment variable. What it leaves out has its default again."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"value": "…", "secret": True, "scopes": ["AUTHORING", "PUBLISHED"]}]}
    )

    value: Annotated[str, expects("a text"), AfterValidator(_check_value)] = Field(repr=False)
    secret: Flag = False
    """Whether the value is masked in all that Attempts leave, and never shown again."""
    scopes: Scopes = Field(default_factory=lambda: [VariableScope.PUBLISHED])
    """Where the variable is seen: by deployed projects (`PUBLISHED`), by `callboard dev` and `callboard run`
    (`AUTHORING`), or by both. An api's default is the one that its own Attempts see."""


_EXAMPLE: dict[str, JsonValue] = {
    "name": "SHOP_URL",
    "secret": False,
    "scopes": ["PUBLISHED"],
    "value": "https://shop.example.com",
    "updatedAt": "2026-11-24T10:00:00Z",
    "updatedBy": "operator-3fa94c21",
}


class VariableBody(ResponseModel):
    """An environment variable."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE, {**_EXAMPLE, "secret": True, "value": None}]})

    name: str
    secret: bool
    scopes: list[VariableScope]
    value: str | None = Field(repr=False)
    """The value; null for a secret."""
    updated_at: datetime
    updated_by: str
    """The id of the key that set it."""


class VariableList(ResponseModel):
    """Environment variables, sorted by name."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"envVars": [_EXAMPLE]}]})

    env_vars: list[VariableBody]
