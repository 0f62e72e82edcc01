"""Small calls of user code to its Attempt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from .context import IntunedContext, RunContext


def extend_timeout() -> None:
    """Restart the Attempt's clock at its full length. Never waits; the hard limit stays."""
    IntunedContext.current().extend_timeout()


def extend_payload(*payloads: Mapping[str, Any]) -> None:
    """Add further API calls, each `{"api": name, "parameters": {…}}`, to what the Run returns; extends the timeout.

    Raises:
        TypeError: A payload is not of that shape.
    """
    checked: list[dict[str, Any]] = []
    for payload in payloads:
        api, parameters = payload.get("api"), payload.get("parameters", {})
        if not isinstance(api, str) or not isinstance(parameters, dict):
            raise TypeError(f'A payload is {{"api": name, "parameters": object}}; this one is {payload!r}.')
        checked.append({"api": api, "parameters": dict(cast("dict[str, Any]", parameters))})
    context = IntunedContext.current()
    context.extended_payloads.extend(checked)
    context.extend_timeout()


async def get_auth_session_parameters() -> dict[str, Any]:
    """The parameters with which the Run's AuthSession was created.

    Raises:
        RuntimeError: The Run has no AuthSession, or one that was not made from stored parameters.
    """
    if (IntunedContext.current().run_context or RunContext()).auth_session_id is None:
        raise RuntimeError("get_auth_session_parameters: this Run has no AuthSession.")
    return json.loads(await IntunedContext.current().ask("auth_session_parameters"))


class AttemptStore:
    """Values that live for one Attempt, shared by all code that runs in it."""

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `key`, else `default`."""
        return IntunedContext.current().store.get(key, default)

    def set(self, key: str, value: Any) -> None:
        """Keep `value` under `key` until the Attempt ends."""
        IntunedContext.current().store[key] = value


attempt_store = AttemptStore()
