"""Check the messages of a process of user code, which may write anything on its socket."""

from __future__ import annotations

from typing import Any, cast

from .results import LIMIT

_LONGEST_NAME = 200
"""Most characters of a module's name."""


def checked_left(left: Any) -> dict[str, Any] | None:
    """Return what is left of a context that the hook has brought, of the shape that we send. Raises TypeError."""
    if left is None:
        return None
    page_url, missing = left["pageUrl"], cast("dict[Any, Any]", left["missing"])
    texts = [*missing, *missing.values(), *([] if page_url is None else [page_url])]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("left")
    return {"pageUrl": page_url, "missing": missing}


def checked_done(done: dict[str, Any]) -> dict[str, Any]:
    """Return a `done` of the shape that we send. Raises TypeError, ValueError or KeyError for any other."""
    if not isinstance(done["attributes"], dict) or not isinstance(done["lasting"], bool):
        raise TypeError("attributes or lasting")
    imported = done["imported"]
    if not isinstance(imported, list) or not all(
        isinstance(name, str) and len(name) <= _LONGEST_NAME for name in cast("list[Any]", imported)
    ):
        raise TypeError("imported")
    if "error" in done:
        error = done["error"]
        if not all(isinstance(error[name], str) for name in ("kind", "name", "message", "stack")):
            raise TypeError("error")
        return done
    if not isinstance(done["result"], str) or len(done["result"]) > LIMIT:
        raise ValueError("result")
    if not isinstance(done["extendedPayloads"], str | None):
        raise TypeError("extendedPayloads")
    return done
