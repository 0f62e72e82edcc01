"""Small calls of user code to its Attempt, and the error by which it ends its Run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol, cast

from .context import IntunedContext, RunContext


class NonRetryableError(Exception):
    """Raise it when no further Attempt can help: the Run fails at once."""


def extend_timeout() -> None:
    """Restart the Attempt's clock at its full length. Never waits; the hard limit stays."""
    IntunedContext.current().extend_timeout()


class Model(Protocol):
    """A pydantic model. That package is the project's: this one has to do without it."""

    def model_dump(self, *, mode: str, by_alias: bool) -> dict[str, Any]:
        """Return its fields."""
        ...


def extend_payload(*payloads: Mapping[str, Any] | Model) -> None:
    """Add further API calls, each `{"api": name, "parameters": {…}}`, to the Run's payloads; extends the timeout.

    A payload may be a pydantic model, as may its parameters, and what stands in them. Models are dumped by alias, at
    the end, like those in a result; a payload and its parameters are dumped at once.

    Raises:
        TypeError: A payload is not of that shape.
    """
    checked: list[dict[str, Any]] = []
    for payload in payloads:
        fields = _fields(payload)
        parameters = None if fields is None else _fields(fields.get("parameters", {}))
        if fields is None or parameters is None or not isinstance(fields.get("api"), str):
            raise TypeError(
                'A payload is {"api": name, "parameters": object}, or a pydantic model of that shape; '
                f"this one is {payload!r}."
            )
        checked.append({"api": fields["api"], "parameters": parameters})
    context = IntunedContext.current()
    context.extended_payloads.extend(checked)
    context.extend_timeout()


def _fields(value: object) -> dict[str, Any] | None:
    """Return what an object or a pydantic model holds; None if `value` is neither."""
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    dump = None if isinstance(value, type) else getattr(value, "model_dump", None)
    fields = dump(mode="json", by_alias=True) if callable(dump) else None
    return cast("dict[str, Any]", fields) if isinstance(fields, dict) else None


async def get_auth_session_parameters() -> dict[str, Any]:
    """Return the parameters with which the Run's AuthSession was created.

    Raises:
        RuntimeError: The Run has no AuthSession, or one that was not made from stored parameters.
    """
    if (IntunedContext.current().run_context or RunContext()).auth_session_id is None:
        raise RuntimeError("get_auth_session_parameters: this Run has no AuthSession.")
    return json.loads(await IntunedContext.current().ask("auth_session_parameters"))


class AttemptStore:
    """Values that live for one Attempt, shared by all code that runs in it."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of `key`, else `default`."""
        return IntunedContext.current().store.get(key, default)

    def set(self, key: str, value: Any) -> None:
        """Keep `value` under `key` until the Attempt ends."""
        IntunedContext.current().store[key] = value


attempt_store = AttemptStore()
