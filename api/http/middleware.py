"""The outermost middleware of the application, through which every request passes.

It gives the request its correlation id, checks the API key before anything else, turns an unexpected exception into an
answer without internals, and writes one line about the request to the log. Headers are never logged: one may be a key.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.errors import answer, defect
from api.http.key_check import KeyCheck
from schemas.errors import CallboardError, Unauthorized
from schemas.workflow.base import clip

KEY_HEADER = "x-api-key"
CORRELATION_HEADER = "x-correlation-id"

_GUARDED = "/api"
_PATH_LIMIT = 300
_PROBES = ("/healthz", "/readyz")
"""Paths of the health checks: they are asked for every few seconds, so they are logged only at level DEBUG."""

log = logging.getLogger(__name__)


class Boundary:
    """The outermost middleware, in plain ASGI.

    It is not a `BaseHTTPMiddleware` of Starlette: that one would receive the client's disconnect before we can.
    """

    def __init__(self, app: ASGIApp, keys: KeyCheck) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send, uuid4().hex)
        scope.setdefault("state", {})["correlation_id"] = exchange.correlation_id
        try:
            self._admit(scope)
            await self._app(scope, receive, exchange.send)
        except ClientDisconnect:
            pass  # the client has left, so there is nobody to answer
        except Exception as error:
            if exchange.status is not None:
                raise  # a part of the answer has been sent: only closing the connection tells the client
            if not isinstance(error, CallboardError):
                log.exception("%s failed [%s]", exchange.what, exchange.correlation_id)
                error = defect()
            await answer(error, exchange.correlation_id)(scope, receive, exchange.send)
        finally:
            exchange.log()

    def _admit(self, scope: Scope) -> None:
        if not _is_guarded(scope["path"]):
            return
        given = Headers(scope=scope).get(KEY_HEADER)
        if given is None:
            raise Unauthorized(f"There is no API key. Send one in the header {KEY_HEADER}.")
        self._keys.check(given.encode("latin-1"), scope)  # latin-1 gives back the bytes as they were received


def _is_guarded(path: str) -> bool:
    return path == _GUARDED or path.startswith(f"{_GUARDED}/")


@dataclass
class _Exchange:
    """One request and its answer."""

    scope: Scope
    _send: Send
    correlation_id: str
    status: int | None = None

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        raw: bytes = self.scope.get("raw_path") or self.scope["path"].encode()
        self.what = f"{self.scope['method']} {clip(raw.decode('ascii', 'backslashreplace'), _PATH_LIMIT)}"

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[CORRELATION_HEADER] = self.correlation_id
            if _is_guarded(self.scope["path"]):
                headers["cache-control"] = "no-store"  # results are for the caller, and no proxy may keep them
        await self._send(message)

    def log(self) -> None:
        level = logging.DEBUG if self.scope["path"] in _PROBES else logging.INFO
        took = (time.monotonic() - self._began) * 1000
        status = self.status or "left"
        log.log(level, "%s -> %s in %.0f ms [%s]", self.what, status, took, self.correlation_id)
