"""`authSession` of a start: a stored AuthSession, or one that lives for this Run alone (contract 6.1)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Discriminator, Field, Tag

from contract.rest.base import Flag, JsonObject, RequestModel, RequestTimeout, expects
from contract.rest.proxy import ProxyUrl

_Id = Annotated[str, Field(min_length=1, max_length=200), expects("the id of an AuthSession, 1 to 200 characters")]
_Attempts = Annotated[int, Field(ge=1, le=10), expects("a whole number from 1 to 10")]
_Yes = Annotated[Literal[True], expects("true: an AuthSession with runtimeInput is always created")]


class _AuthSession(RequestModel):
    check_attempts: _Attempts = 3
    create_attempts: _Attempts = 3
    proxy: ProxyUrl | None = Field(default=None, repr=False)
    request_timeout: RequestTimeout = 600
    save_trace: Flag = True


class StoredAuthSession(_AuthSession):
    """A stored AuthSession, made from credentials or by the recorder."""

    id: _Id
    auto_recreate: Flag = True


class RuntimeAuthSession(_AuthSession):
    """An AuthSession made from `runtimeInput`, for this Run alone."""

    runtime_input: JsonObject = Field(repr=False)
    id: _Id | None = None
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


AuthSessionInput = Annotated[
    Annotated[StoredAuthSession, Tag("stored")] | Annotated[RuntimeAuthSession, Tag("runtime")],
    Discriminator(_form),
    BeforeValidator(_null_is_absent),
]
