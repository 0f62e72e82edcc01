"""The route class of the pages: it answers errors as a page, or as JSON for clients that ask for JSON."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, FastAPI, params
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from api.dashboard.auth import SignInRequired, read_session, require_session
from api.dashboard.rendering import render_page, wants_json, with_security_headers
from api.dependencies import Services
from api.http import errors
from callboard.projects.manifest import Manifest
from callboard.schemas.errors import CallboardError, NotFound
from callboard.security.apikeys import Caller

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
            except Exception as error:  # noqa: BLE001 - the page says what is wrong, and the log has the cause
                return await _error_page(request, errors.as_callboard_error(request, error))

        return handle


def page_router(prefix: str, *checks: params.Depends) -> APIRouter:
    """Return a router for pages below `prefix`, which only people who are signed in see, and API clients with a key."""
    dependencies = [Depends(require_session), *checks]
    return APIRouter(route_class=PageRoute, include_in_schema=False, prefix=prefix, dependencies=dependencies)


async def _error_page(request: Request, error: CallboardError) -> Response:
    correlation_id = errors.correlation_id(request)
    if wants_json(request):
        return with_security_headers(errors.logged_error_response(error, correlation_id))
    if error.status >= 500:
        log.error("%s [%s]", error.message, correlation_id, exc_info=error)
    if isinstance(error, SignInRequired):
        next_url = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        query = {} if request.method != "GET" or next_url == "/" else {"next": next_url}
        return with_security_headers(RedirectResponse(f"/sign-in{'?' + urlencode(query) if query else ''}", 303))
    data = {"title": _ERROR_TITLES.get(error.status, "Internal error"), "message": error.message}
    return render_page(
        request,
        "error.html",
        data,
        status=error.status,
        headers=errors.error_headers(error),
        manifest=None if error.status >= 500 else await _project_of(request),
    )


async def _project_of(request: Request) -> Manifest | None:
    """Return the project that a page is about, if who is signed in may see it: the answer leads to its other pages."""
    name: str | None = request.path_params.get("projectName")
    caller: Caller | None = getattr(request.state, "caller", None)
    if name is None or caller is None or not caller.sees(name):
        return None
    services: Services = request.app.state.services
    return await services.catalog.get_current(name)


def install_unknown_pages(app: FastAPI, services: Services) -> None:
    """Make the application answer browsers that ask for a path that there is not with a page."""

    async def answer(request: Request, error: Exception) -> Response:
        is_page = "text/html" in request.headers.get("accept", "") and not request.url.path.startswith(
            ("/api/", "/mcp/")
        )
        if not is_page:
            return errors.answer_error(request, error)
        await read_session(request, services)
        return await _error_page(request, NotFound("There is no such page."))

    app.add_exception_handler(HTTPStatus.NOT_FOUND, answer)
