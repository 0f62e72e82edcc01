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

from api.dashboard.auth import SignInFirst
from api.dashboard.rendering import page, secured, wants_json
from api.http import errors
from schemas.errors import CallboardError
from schemas.rest.problems import bad_lines

log = logging.getLogger(__name__)

_TITLES = {
    400: "That cannot be done",
    401: "Sign in first",
    403: "Not allowed",
    404: "Not found",
    409: "That is in conflict with what is there",
    413: "Too much",
    429: "Too many requests",
    503: "Not available at the moment",
}


class PageRoute(APIRoute):
    """A route of a page; its errors become a page, or JSON if the client asks for that."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that FastAPI calls for a request."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return secured(await handler(request))
            except ClientDisconnect:
                raise
            except RequestValidationError as error:
                wrong = bad_lines([{**line, "loc": line["loc"][1:]} for line in error.errors()])
                return _told(request, wrong)
            except CallboardError as error:
                return _told(request, error)
            except Exception:
                log.exception("%s failed [%s]", request.url.path, errors.correlation_id(request))
                return _told(request, errors.defect(), logged=True)

        return handle


def _told(request: Request, error: CallboardError, *, logged: bool = False) -> Response:
    said = errors.correlation_id(request)
    if wants_json(request):
        return secured(errors.answer(error, said))
    if error.status >= 500 and not logged:
        log.error("%s [%s]", error.message, said, exc_info=error)
    if isinstance(error, SignInFirst):
        after = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        back = {} if request.method != "GET" or after == "/" else {"next": after}
        return secured(RedirectResponse(f"/sign-in{'?' + urlencode(back) if back else ''}", 303))
    data = {"title": _TITLES.get(error.status, "Something went wrong"), "message": error.message}
    return page(request, "error.html", data, status=error.status, headers=errors.headers_of(error))
