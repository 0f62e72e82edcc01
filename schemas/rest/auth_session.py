"""`authSession` of a start: a stored one, or one that lives for this Run alone (docs/contract.md, section 6.1)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from schemas.rest.base import Flag, JsonObject, RequestModel, RequestTimeout, checked, expects
from schemas.rest.proxy import ProxyUrl

ID_RULE = "an id of 3 to 200 characters, letters, digits and . _ @ + - only, with a letter or digit first"

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{2,199}")


def is_auth_session_id(text: str) -> bool:
    """Whether an AuthSession may have this id; it stands in paths, and in names within Temporal and the store."""
    return _ID.fullmatch(text) is not None


def _check_id(text: str) -> None:
    if not is_auth_session_id(text):
        raise ValueError(ID_RULE)


AuthSessionId = Annotated[
    str,
    AfterValidator(checked(_check_id)),
    expects(ID_RULE),
    Field(json_schema_extra={"minLength": 3, "maxLength": 200, "pattern": "^[A-Za-z0-9][A-Za-z0-9._@+-]*$"}),
]
"""The id of an AuthSession that is to be made."""

LoginAttempts = Annotated[int, Field(ge=1, le=10), expects("a whole number from 1 to 10")]
"""How often a check, or a create, is tried."""

_AnyId = Annotated[str, Field(min_length=1, max_length=200), expects("the id of an AuthSession, 1 to 200 characters")]
_Yes = Annotated[Literal[True], expects("true: an AuthSession with runtimeInput is always created")]


class _AuthSession(RequestModel):
    check_attempts: LoginAttempts = 3
    create_attempts: LoginAttempts = 3
    proxy: ProxyUrl | None = Field(default=None, repr=False)
    """Of its checks and creates."""
    request_timeout: RequestTimeout = 600
    """Seconds; of each check and create."""
    save_trace: Flag = False
    """Of checks and creates. They fill in passwords, so a trace of them must be asked for."""


class StoredAuthSession(_AuthSession):
    """A stored AuthSession, made from credentials or by the recorder."""

    id: _AnyId
    auto_recreate: Flag = True


class RuntimeAuthSession(_AuthSession):
    """An AuthSession made from `runtimeInput`, for this Run alone."""

    runtime_input: JsonObject = Field(repr=False)
    id: AuthSessionId | None = None
    auto_recreate: _Yes = True


def _form(value: Any) -> str:
    if isinstance(value, RuntimeAuthSession):  # pydantic asks for the form when it serializes, too
        return "runtime"
    given = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    return "runtime" if "runtimeInput" in given else "stored"


def _null_is_absent(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: item for key, item in cast("dict[str, Any]", value).items() if (key, item) != ("runtimeInput", None)}


AuthSessionOfRun = Annotated[
    Annotated[StoredAuthSession, Tag("stored")] | Annotated[RuntimeAuthSession, Tag("runtime")],
    Discriminator(_form),
    BeforeValidator(_null_is_absent),
]
