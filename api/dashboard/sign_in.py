"""Routes to sign in with an API key, and to sign out."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from api.dashboard.auth import DoorDep, Form, SignedIn, check_same_origin, remove_cookie, session_of, set_cookie
from api.dashboard.forms import read_form
from api.dashboard.page_route import PageRoute
from api.dashboard.rendering import page
from api.http.errors import headers_of
from schemas.errors import TooMany, Unauthorized

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_HOME = "/projects"
_FORM_LIMIT = 16 * 1024
"""Largest form in bytes: anybody can send one, so it must not take much memory."""


@router.get("/")
async def home() -> Response:
    """There is nothing before the projects."""
    return RedirectResponse(_HOME, 303)


@router.get("/sign-in")
async def form(request: Request, door: DoorDep, next: Annotated[str, Query(max_length=2000)] = _HOME) -> Response:  # noqa: A002 - as it stands in the address
    """Show the form; whoever is signed in needs none."""
    if session_of(request, door) is not None:
        return RedirectResponse(_local(next), 303)
    return page(request, "sign-in.html", _data(next))


@router.post("/sign-in")
async def sign_in(request: Request, door: DoorDep) -> Response:
    """Open a session for whoever knows a key."""
    check_same_origin(request)
    sent = await read_form(request, _FORM_LIMIT)
    after = sent.get("next", _HOME)
    key = sent.get("key", "").strip()
    try:
        door.keys.check(key.encode(), request.scope)
    except (Unauthorized, TooMany) as error:
        data = _data(after, error.message)
        return page(request, "sign-in.html", data, status=error.status, headers=headers_of(error))
    answer = RedirectResponse(_local(after), 303)
    set_cookie(request, answer, door.sessions.open(key))
    return answer


@router.post("/sign-out")
async def sign_out(request: Request, door: DoorDep, session: SignedIn, _: Form) -> Response:
    """Close the session, here and in the browser."""
    door.sessions.end(session)
    answer = RedirectResponse("/sign-in", 303)
    remove_cookie(request, answer)
    return answer


def _data(after: str, error: str | None = None) -> dict[str, Any]:
    return {"next": _local(after), "error": error}


def _local(address: str) -> str:
    """Return the address if it leads to one of our pages, else that of the first page."""
    parts = urlsplit(address)
    local = address.startswith("/") and not address.startswith(("//", "/\\")) and not (parts.scheme or parts.netloc)
    return address if local and address.isprintable() and address.isascii() else _HOME
