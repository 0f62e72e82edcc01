"""`authSession` of a start: a stored one, or one that lives for this Run alone (docs/contract.md, section 6.1)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from callboard.schemas.rest.base import Flag, RequestModel, RequestTimeout, checked, expects
from callboard.schemas.rest.login_parameters import LoginParameters
from callboard.schemas.rest.proxy import ProxyUrl

ID_RULE = "an id of 3 to 200 characters, letters, digits and . _ @ + - only, with a letter or digit first"

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{2,199}")


def is_auth_session_id(text: str) -> bool:
    """Tell whether an AuthSession may have this id, so that it may be a part of paths and keys."""
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
"""The id of the AuthSession to create."""

AuthAttempts = Annotated[int, Field(ge=1, le=10), expects("a whole number from 1 to 10")]
"""The number of times that a check, or a create, is tried at most."""

AnyAuthSessionId = Annotated[
    str, Field(min_length=1, max_length=200), expects("the id of an AuthSession, 1 to 200 characters")
]
"""The id of an AuthSession that exists already."""
Lease = Annotated[Literal["exclusive"], expects('"exclusive"')]
"""The word by which a Run takes turns with others of the same login."""
_OnlyTrue = Annotated[Literal[True], expects("true: an AuthSession with runtimeInput is always created")]


class _AuthSession(RequestModel):
    check_attempts: AuthAttempts = 3
    create_attempts: AuthAttempts = 3
    proxy: ProxyUrl | None = Field(default=None, repr=False)
    """The proxy of its checks and creates."""
    request_timeout: RequestTimeout = 600
    """The time limit of each check and create, in seconds."""
    save_trace: Flag = False
    """Whether checks and creates leave a trace. They fill in passwords, so the default is false."""


class StoredAuthSession(_AuthSession):
    """A stored AuthSession, created from credentials or by the recorder."""

    id: AnyAuthSessionId
    auto_recreate: Flag = True
    lease: Lease | None = None
    """`"exclusive"`: of all Runs with this word, one at a time uses the AuthSession, in the order of their starts."""


class RuntimeAuthSession(_AuthSession):
    """An AuthSession that is created from `runtimeInput` for this Run alone."""

    runtime_input: LoginParameters = Field(repr=False)
    id: AuthSessionId | None = None
    auto_recreate: _OnlyTrue = True


def _variant(value: Any) -> str:
    if isinstance(value, RuntimeAuthSession):  # pydantic asks for the form when it serializes, too
        return "runtime"
    fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    return "runtime" if "runtimeInput" in fields else "stored"


def _null_is_absent(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: item for key, item in cast("dict[str, Any]", value).items() if (key, item) != ("runtimeInput", None)}


RunAuthSession = Annotated[
    Annotated[StoredAuthSession, Tag("stored")] | Annotated[RuntimeAuthSession, Tag("runtime")],
    Discriminator(_variant),
    BeforeValidator(_null_is_absent),
]
