"""Automations that may end without ever needing a browser (docs/contract.md, section 3, rule 7)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

MARK = "__deferred_browser__"


class EnsureBrowserFunction(Protocol):
    """What a deferred automation is given: awaiting it yields the context and the page."""

    def __call__(self) -> Awaitable[tuple[Any, Any]]:
        """Set the browser up; a second call gives the same."""
        ...


def deferred_browser[F: Callable[..., Any]](function: F) -> F:
    """Mark an automation to be called as `function(params, ensure_browser=…)`, before there is a page."""
    setattr(function, MARK, True)
    return function
