"""A call of a tool, and its requests to the routes of this api, in the name of whoever calls.

So a tool is no second path to anything: keys, scopes, projects, limits, audit, masking and errors are the route's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import anyio
import httpx
from fastapi import Request

from api.dependencies import Services
from api.http.key_check import KEY_HEADER
from callboard.schemas.workflow.base import clip
from callboard.security.apikeys import Caller
from callboard.telemetry.tracing import current_traceparent

_PASSED_ON = (KEY_HEADER.encode(), b"authorization", b"host")
"""Headers with the key, which each route checks anew, as it may have been revoked meanwhile; and the name of this host,
with which links in answers begin."""
_SERVER_ERROR = 500


class RefusedError(Exception):
    """A route has refused the request: the message is the one of its answer, for people."""


class RestCaller:
    """Sends requests to the routes of the application, within this process, with the key of a request over MCP."""

    def __init__(self, request: Request, workspace: str) -> None:
        self._transport = httpx.ASGITransport(request.app, client=request.client or ("", 0))
        # A URL with the name that the client gives this host could lead to any path.
        self._base = f"{request.scope['scheme']}://callboard/api/v1/workspace/{workspace}/projects"
        self._headers = [(name, value) for name, value in request.headers.raw if name in _PASSED_ON]

    async def get(self, project: str, *place: str | int, query: Mapping[str, Any] | None = None) -> httpx.Response:
        """Return what a route below a project answers.

        Args:
            project: The name of the project.
            place: The parts of the path behind it.
            query: Parameters of the query; the value of one may be a list.

        Raises:
            RefusedError: The answer is an error, or a part cannot be one of a path, or all are too long for one.
        """
        return await self._ask("GET", project, place, query, None)

    async def post(self, project: str, *place: str | int, body: Any = None) -> httpx.Response:
        """Send a change, and return and raise as `get` does. Once it is sent, it is not cut off by a cancel."""
        with anyio.CancelScope(shield=True):
            return await self._ask("POST", project, place, None, body)
        raise RuntimeError("Nobody cancels this scope")

    async def _ask(
        self, method: str, project: str, place: tuple[str | int, ...], query: Mapping[str, Any] | None, body: Any
    ) -> httpx.Response:
        parts = [str(part) for part in (project, *place)]
        for part in parts:
            if "/" in part or part in ("", ".", ".."):  # it would lead to another route
                raise RefusedError(f"There is no project, Run or Handoff {clip(part, 100)!r}.")
        path = "/".join(quote(part, safe="") for part in parts)
        traceparent = current_traceparent()
        headers = [*self._headers, *([] if traceparent is None else [(b"traceparent", traceparent.encode())])]
        try:
            request = httpx.Request(method, f"{self._base}/{path}", params=query, headers=headers, json=body)
        except httpx.InvalidURL as error:
            raise RefusedError("These arguments are too long for one request.") from error
        answer = await self._transport.handle_async_request(request)
        await answer.aread()
        if answer.is_success:
            return answer
        raise RefusedError(_in_words(answer))


@dataclass(frozen=True)
class ToolCall:
    """A call of a tool: its arguments, and the services that it may use."""

    services: Services
    caller: Caller
    rest: RestCaller
    """What all that the tool does goes through."""
    arguments: dict[str, Any]
    tell_progress: Callable[[float, float, str], Awaitable[None]]
    """Tells a client that has asked for it how many seconds of how many it has waited, and a sentence."""


def _in_words(answer: httpx.Response) -> str:
    """Return the error of an answer as a text; with the id for the log, if the api is at fault."""
    body: dict[str, Any] = answer.json()
    message: str = body["message"]
    details: dict[str, Any] = body.get("details") or {}
    errors: list[dict[str, str]] = details.get("errors") or []
    if len(errors) > 1:
        message = " ".join(f"{each['path']}: expected {each['expected']}." for each in errors)
    wait = answer.headers.get("retry-after")
    more = "" if wait is None or wait in message else f" Try again in {wait} seconds."
    reference = f" [{body['correlationId']}]" if answer.status_code >= _SERVER_ERROR else ""
    return f"{message}{more}{reference}"
