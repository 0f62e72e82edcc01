"""Check the messages of a process of user code, which may write anything on its socket.

What passes is small and of one shape, but for texts with a limit. So the worker, which serves all projects on one event
loop, never parses what user code has made.
"""

from __future__ import annotations

import json
from typing import Any, cast

from intuned_runtime.attributes import check_attributes
from intuned_runtime.persistent import LIMIT as VALUE_LIMIT
from intuned_runtime.persistent import size_of

from .failures import MESSAGE_LIMIT, STACK_LIMIT
from .results import LIMIT, is_too_deep

_LONGEST_NAME = 200
"""Most characters of a module's name."""
_ARGUMENTS = {"persistent_get": {"key"}, "persistent_set": {"key", "value"}, "auth_session_parameters": set[str]()}
"""The operations that the worker knows, with the names of their arguments."""
_KINDS = frozenset({"user", "structural", "non-retryable", "too-big", "state"})
"""Kinds of the errors that a process of user code may tell (see `failures`); others are the supervisor's to find."""
_EVIDENCE = frozenset({"trace", "screenshot"})
_SIZES = ("sizeInBytes", "maxSizeInBytes")


def checked_number(message: dict[str, Any]) -> dict[str, Any]:
    """Return a request if it has a number, under which it is answered. Raises TypeError or KeyError."""
    if not isinstance(message["number"], int):
        raise TypeError("number")
    return message


def checked_request(message: dict[str, Any]) -> dict[str, Any]:
    """Return a request to the worker of the shape that we send. Raises TypeError, ValueError or KeyError."""
    arguments = cast("dict[str, Any]", message["arguments"])
    if arguments.keys() != _ARGUMENTS[message["operation"]]:
        raise ValueError("arguments")
    if not checked_text(arguments.get("value", "")).isascii():
        raise ValueError("value")
    if sum(size_of(checked_text(value)) for value in arguments.values()) > VALUE_LIMIT:
        raise ValueError("arguments")
    return checked_number(message)


def checked_text(text: Any, limit: int | None = None) -> str:
    """Return a text, clipped to `limit` characters. Raises TypeError if it is none."""
    if not isinstance(text, str):
        raise TypeError(type(text).__name__)
    return text[:limit]


def checked_left(left: Any) -> dict[str, Any] | None:
    """Return what is left of a context that the hook has brought, of the shape that we send.

    Raises TypeError, KeyError or AttributeError.
    """
    if left is None:
        return None
    page_url = None if left["pageUrl"] is None else checked_text(left["pageUrl"], STACK_LIMIT)
    missing = {name: checked_text(why, MESSAGE_LIMIT) for name, why in left["missing"].items() if name in _EVIDENCE}
    return {"pageUrl": page_url, "missing": missing}


def checked_done(done: dict[str, Any]) -> dict[str, Any]:
    """Return a `done` of the shape that we send.

    Raises TypeError, ValueError, KeyError, AttributeError or RecursionError for any other.
    """
    check_attributes(done["attributes"])
    imported = done["imported"]
    if not isinstance(imported, list) or not all(
        len(checked_text(name)) <= _LONGEST_NAME for name in cast("list[Any]", imported)
    ):
        raise TypeError("imported")
    if "error" in done:
        return {**done, "error": _checked_error(done["error"])}
    checked_text(done.get("uncaptured", ""))
    _check_json(done["result"])
    if done["extendedPayloads"] is not None:
        for payload in _check_json(done["extendedPayloads"]):
            if not isinstance(payload["api"], str) or not isinstance(payload["parameters"], dict):
                raise TypeError("extendedPayloads")
    return done


def _checked_error(error: Any) -> dict[str, Any]:
    if error["kind"] not in _KINDS:
        raise ValueError("kind")
    checked = {
        "kind": error["kind"],
        "name": checked_text(error["name"], MESSAGE_LIMIT),
        "message": checked_text(error["message"], MESSAGE_LIMIT),
        "stack": checked_text(error["stack"], STACK_LIMIT),
    }
    return checked | ({"details": {name: int(error["details"][name]) for name in _SIZES}} if "details" in error else {})


def _check_json(text: Any) -> Any:
    """Return what a text is the ASCII JSON of, which nobody after us parses before it gives it away."""
    if len(checked_text(text)) > LIMIT or not text.isascii() or is_too_deep(text):
        raise ValueError("no ASCII JSON within the limits")
    return json.loads(text)
