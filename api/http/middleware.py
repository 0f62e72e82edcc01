"""The outermost middleware of the application, through which every request passes.

It gives the request its correlation id, refuses a key in the address, checks the API key before anything else, and
again while a request lasts, traces the request, turns an unexpected exception into an answer without internals, and
writes one line about the request to the log. Headers are never logged: one may be a key. Changes and refusals are
recorded for the audit before the answer is sent.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.audit import AuditRecorder
from api.http.errors import logged_error_response, unexpected_error
from api.http.key_check import KEY_HEADER, KeyCheck, holds_key, key_in_address, read_key
from callboard.schemas.errors import CallboardError, Unauthorized, Unavailable
from callboard.schemas.mask import MASK
from callboard.schemas.workflow.base import clip
from callboard.security.apikeys import Caller
from callboard.telemetry import metrics
from callboard.telemetry.log_context import add_log_fields, current_log_fields, log_fields
from callboard.telemetry.tracing import current_trace_id, request_span

if TYPE_CHECKING:
    from callboard.telemetry.spans import RequestSpan  # whoever does not trace does not pay for the import

CORRELATION_HEADER = "x-correlation-id"

_API = "/api"
_WITH_KEY = (_API, "/mcp")
"""Paths that need a key, with all that is below them."""
_MAX_LOGGED_PATH = 300
_HEALTH_PATHS = ("/healthz", "/readyz")
"""Paths of the health checks: they are asked for every few seconds, so they are logged only at level DEBUG."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER = "other"
"""What is counted in place of a method or a route that there is not, as a caller can invent any number of them."""
_CLIENT_LEFT = "499"
"""What is counted as the status of a request whose client has left before its answer, as some proxies do."""
_PATH_FIELDS = {"projectName": "project", "runId": "runId"}
"""Parameters in paths of routes that are told to the log, and the fields that tell them."""

_CHECKED_EVERY = 3.0
"""Seconds after which the key of a request that lasts is checked again."""

log = logging.getLogger(__name__)


async def log_as_frequent(request: Request) -> None:
    """Have the log tell of this request at level DEBUG only: the dependency of routes called many times a second."""
    request.state.is_frequent = True


class RequestMiddleware:
    """The outermost middleware, in plain ASGI.

    It is not a `BaseHTTPMiddleware` of Starlette: that one would receive the client's disconnect before we can.
    """

    def __init__(
        self, app: ASGIApp, keys: KeyCheck, audit: AuditRecorder, of_page: Callable[[Request], Awaitable[bool]]
    ) -> None:
        """Take what requests need; `of_page` tells whether a page sends one for who is signed in, and notes who."""
        self._app = app
        self._keys = keys
        self._audit = audit
        self._of_page = of_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, uuid4().hex, self._keys, self._audit)
        scope.setdefault("state", {})["correlation_id"] = exchange.correlation_id
        with log_fields():
            await self._serve(scope, exchange)

    async def _serve(self, scope: Scope, exchange: _Exchange) -> None:
        try:
            if exchange.has_key_in_address:
                raise key_in_address()
            await self._check_key(scope)
            if scope["path"] in _HEALTH_PATHS:
                await self._app(scope, exchange.receive, exchange.send)
            else:
                await self._serve_traced(scope, exchange)
        except ClientDisconnect:
            pass  # the client has left, so there is nobody to answer
        except Exception as error:
            if exchange.status is not None:
                if exchange.refused is not None:
                    return  # the server closes the connection, since the answer has no end
                raise  # a part of the answer has been sent: only closing the connection tells the client
            exchange.tells_refusal = exchange.refused is not None
            told = exchange.refused or error
            if not isinstance(told, CallboardError):
                told = unexpected_error(told)
            await logged_error_response(told, exchange.correlation_id)(scope, exchange.receive, exchange.send)
        finally:
            await exchange.record(exchange.status)
            exchange.log()
            exchange.count()

    async def _serve_traced(self, scope: Scope, exchange: _Exchange) -> None:
        # Only a request with a key is believed which trace it belongs to: anybody can send a header.
        headers = Headers(scope=scope) if needs_key(scope["path"]) else Headers()
        with request_span(headers) as span:
            if span is None:
                await self._app(scope, exchange.receive, exchange.send)
                return
            add_log_fields(traceId=current_trace_id())
            failed: int | None = None
            try:
                await self._app(scope, exchange.receive, exchange.send)
            except Exception as error:
                failed = None if isinstance(error, ClientDisconnect) else HTTPStatus.INTERNAL_SERVER_ERROR
                raise
            finally:
                exchange.describe(span, exchange.status or failed)

    async def _check_key(self, scope: Scope) -> None:
        if not needs_key(scope["path"]):
            return
        key = read_key(Headers(scope=scope))
        if key is None:
            if _is_below(scope["path"], _API) and await self._of_page(Request(scope)):
                return
            raise Unauthorized(
                f"There is no API key. Send one in the header {KEY_HEADER}, or as `Authorization: Bearer KEY`."
            )
        scope["state"]["caller"] = await self._keys.check(key, scope)


def needs_key(path: str) -> bool:
    """Tell whether a path needs a key; all others are pages, and what they load."""
    return any(_is_below(path, prefix) for prefix in _WITH_KEY)


def _is_below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")


@dataclass
class _Exchange:
    """One request and its answer."""

    scope: Scope
    _receive: Receive
    _send: Send
    correlation_id: str
    _keys: KeyCheck
    _audit: AuditRecorder
    status: int | None = None
    refused: Unauthorized | None = None
    """Why the key is not accepted any more, if the request has outlasted it."""
    tells_refusal: bool = False
    """Whether this is what is being answered."""
    _recorded: bool = False

    def __post_init__(self) -> None:
        self._started_at = self._checked_at = time.monotonic()
        self.has_key_in_address = holds_key(self.scope)
        raw: bytes = self.scope.get("raw_path") or self.scope["path"].encode()
        path = MASK if self.has_key_in_address else clip(raw.decode("ascii", "backslashreplace"), _MAX_LOGGED_PATH)
        self.summary = f"{self.scope['method']} {path}"

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            # The body may have taken minutes, and is about to be obeyed.
            await self._check_again()
            check: Callable[[], Awaitable[object]] | None = self.scope["state"].get("check_after_body")
            if check is not None:
                await check()
        return message

    async def send(self, message: Message) -> None:
        if self.scope["method"] == "GET":  # Whatever another one has changed is changed, and its answer says so.
            await self._check_again()
        if message["type"] == "http.response.start":
            await self.record(message["status"])
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[CORRELATION_HEADER] = self.correlation_id
            if needs_key(self.scope["path"]):
                headers["cache-control"] = "no-store"  # results are for the caller, and no proxy may keep them
        await self._send(message)

    async def record(self, status: int | None) -> None:
        """Record the request for the audit, unless it was."""
        if not self._recorded:
            self._recorded = True
            await self._audit.record(self.scope, status, self.correlation_id)

    async def _check_again(self) -> None:
        caller: Caller | None = self.scope["state"].get("caller")
        if caller is None or self.tells_refusal or time.monotonic() - self._checked_at < _CHECKED_EVERY:
            return
        self._checked_at = time.monotonic()
        try:
            check: Callable[[], Awaitable[object]] | None = self.scope["state"].get("check_again")
            await (self._keys.check_id(caller.id) if check is None else check())
        except Unauthorized as error:
            self.refused = error
            raise
        except Unavailable:
            pass  # It was good when the request came. New requests are refused meanwhile.

    def log(self) -> None:
        is_frequent = self.scope["path"] in _HEALTH_PATHS or "is_frequent" in self.scope["state"]
        level = logging.DEBUG if is_frequent else logging.INFO
        milliseconds = (time.monotonic() - self._started_at) * 1000
        status = self.status or "client left"
        extra = {"request": {**self._subject(), "correlationId": self.correlation_id}}
        log.log(level, "%s -> %s in %.0f ms [%s]", self.summary, status, milliseconds, self.correlation_id, extra=extra)

    def describe(self, span: RequestSpan, status: int | None) -> None:
        """Tell the span which route has answered, how, and about which Run."""
        route: object = getattr(self.scope.get("route"), "path", None)
        span.set_end(
            method=self.scope["method"],
            route=route if isinstance(route, str) else None,
            status=status,
            run_id=self._subject().get("runId"),
        )

    def _subject(self) -> dict[str, str]:
        """Return the ids of the Run and the project that the request is about, by its path and log fields."""
        path: dict[str, str] = self.scope.get("path_params", {})
        found = {name: str(value) for name, value in current_log_fields().items()}
        return {field: path[name] for name, field in _PATH_FIELDS.items() if name in path} | found

    def count(self) -> None:
        method = self.scope["method"]
        metrics.current().request_ended(
            method=method if method in _METHODS else _OTHER,
            route=_route_of(self.scope),
            status=_CLIENT_LEFT if self.status is None else str(self.status),
            duration=timedelta(seconds=time.monotonic() - self._started_at),
        )


def _route_of(scope: Scope) -> str:
    """Return the template of the path. A request that is refused before a route is looked up has none."""
    if (route := scope.get("route")) is not None:
        return route.path
    # Routes of the framework itself, such as that of the API's description, do not tell of themselves. What lies below
    # a mount is no route: callers can invent any number of paths there.
    routes = scope["app"].routes if "app" in scope else ()
    return next((route.path for route in routes if isinstance(route, Route) and route.path == scope["path"]), _OTHER)
