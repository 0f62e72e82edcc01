"""The route class of the pages: it answers errors as a page, or as JSON for clients that ask for JSON."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlencode

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from api.dashboard.auth import SignInRequired
from api.dashboard.rendering import render_page, wants_json, with_security_headers
from api.http import errors
from schemas.errors import CallboardError

log = logging.getLogger(__name__)

_ERROR_TITLES = {
    400: "Bad request",
    401: "Sign-in required",
    403: "Forbidden",
    404: "Not found",
    409: "Conflict",
    413: "Request too large",
    429: "Too many requests",
    503: "Service unavailable",
}


class PageRoute(APIRoute):
    """A route of a page; its errors become a page, or JSON if the client asks for that."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that FastAPI calls for a request."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return with_security_headers(await handler(request))
            except ClientDisconnect:
                raise
            except RequestValidationError as error:
                return _error_page(request, errors.invalid_parameters(error))
            except CallboardError as error:
                return _error_page(request, error)
            except Exception:
                log.exception("%s failed [%s]", request.url.path, errors.correlation_id(request))
                return _error_page(request, errors.unexpected_error(), logged=True)

        return handle


def _error_page(request: Request, error: CallboardError, *, logged: bool = False) -> Response:
    correlation_id = errors.correlation_id(request)
    if wants_json(request):
        return with_security_headers(errors.logged_error_response(error, correlation_id))
    if error.status >= 500 and not logged:
        log.error("%s [%s]", error.message, correlation_id, exc_info=error)
    if isinstance(error, SignInRequired):
        next_url = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        query = {} if request.method != "GET" or next_url == "/" else {"next": next_url}
        return with_security_headers(RedirectResponse(f"/sign-in{'?' + urlencode(query) if query else ''}", 303))
    data = {"title": _ERROR_TITLES.get(error.status, "Internal error"), "message": error.message}
    return render_page(request, "error.html", data, status=error.status, headers=errors.error_headers(error))
