"""Routes to sign in with an API key, and to sign out."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from api.dashboard.auth import (
    FormDep,
    SessionDep,
    check_same_origin,
    clear_session_cookie,
    read_session,
    set_session_cookie,
)
from api.dashboard.forms import read_form
from api.dashboard.page_route import PageRoute
from api.dashboard.rendering import render_page
from api.dependencies import ServicesDep
from api.http.access import audit_note, caller_of
from api.http.errors import error_headers
from callboard.schemas.errors import TooMany, Unauthorized
from callboard.schemas.rest.access import Scope

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_HOME_PATH = "/"
_FORM_LIMIT = 16 * 1024
"""Largest form in bytes: anybody can send one, so it must not take much memory."""


@router.get("/")
async def home(request: Request, _: SessionDep) -> Response:
    """Redirect to the projects, or to the page that every key opens."""
    return RedirectResponse("/projects" if caller_of(request).has(Scope.RUNS_READ) else "/key", 303)


@router.get("/sign-in")
async def sign_in_form(
    request: Request,
    services: ServicesDep,
    next_url: Annotated[str, Query(alias="next", max_length=2000)] = _HOME_PATH,
) -> Response:
    """Show the sign-in form; redirect people who are signed in already."""
    if await read_session(request, services) is not None:
        return RedirectResponse(_local_path(next_url), 303)
    return render_page(request, "sign-in.html", _form_data(next_url))


@router.post("/sign-in")
async def sign_in(request: Request, services: ServicesDep) -> Response:
    """Open a session for a client that knows an API key."""
    check_same_origin(request)
    fields = await read_form(request, _FORM_LIMIT)
    next_url = fields.get("next", _HOME_PATH)
    key = fields.get("key", "").strip()
    audit_note(request.scope).action = "sign-in"
    try:
        request.state.caller = await services.keys.check(key.encode(), request.scope)
    except (Unauthorized, TooMany) as error:
        data = _form_data(next_url, error.message)
        return render_page(request, "sign-in.html", data, status=error.status, headers=error_headers(error))
    response = RedirectResponse(_local_path(next_url), 303)
    set_session_cookie(request, response, services.sessions.open(request.state.caller))
    return response


@router.post("/sign-out")
async def sign_out(request: Request, services: ServicesDep, session: SessionDep, _: FormDep) -> Response:
    """End the session, in every api and in the browser."""
    audit_note(request.scope).action = "sign-out"
    await services.ended_sessions.add(session)
    response = RedirectResponse("/sign-in", 303)
    clear_session_cookie(request, response)
    return response


def _form_data(next_url: str, error: str | None = None) -> dict[str, Any]:
    return {"next": _local_path(next_url), "error": error}


def _local_path(address: str) -> str:
    """Return the address if it leads to one of our pages, else that of the first page."""
    url = urlsplit(address)
    is_local = address.startswith("/") and not address.startswith(("//", "/\\")) and not (url.scheme or url.netloc)
    return address if is_local and address.isprintable() and address.isascii() else _HOME_PATH
