"""A call of a tool: what it is given, and what it may use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from api.dependencies import Services
from api.mcp.rest import RestCaller
from callboard.security.apikeys import Caller


@dataclass(frozen=True)
class ToolCall:
    """A call of a tool."""

    services: Services
    caller: Caller
    rest: RestCaller
    """What all that the tool does goes through."""
    arguments: dict[str, Any]
    tell_progress: Callable[[float, float, str], Awaitable[None]]
    """Tells a client that has asked for it how many seconds of how many it has waited, and a sentence."""
