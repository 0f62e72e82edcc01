"""Authentication for the pages: the session of a cookie, and the check that a change comes from a form of its owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast
from urllib.parse import urlsplit

from fastapi import Depends
from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request
from starlette.responses import Response

from api.dashboard.forms import read_form
from api.http.key_check import KeyCheck
from api.http.middleware import KEY_HEADER
from schemas.errors import Forbidden, Unauthorized
from security.sessions import LASTS, Session, Sessions

COOKIE = "callboard-session"
TOKEN_FIELD = "token"  # noqa: S105 - the name of a field
"""Name of the field that holds the token of the session, in every form that changes something."""

_GUESTS = Session(nonce="", ends=0, form_token="")
"""Session of clients that send an API key with each request instead of a cookie: their requests come from no page."""


@dataclass(frozen=True)
class Door:
    """The services that decide who may see the pages; the application creates them once."""

    keys: KeyCheck
    sessions: Sessions


class SignInFirst(Unauthorized):
    """The error that nobody is signed in; a browser is redirected to the sign-in form."""


async def _door(request: Request) -> Door:
    return cast("Door", request.app.state.door)


DoorDep = Annotated[Door, Depends(_door)]


def session_of(request: Request, door: Door) -> Session | None:
    """Return the session of the request's cookie, or None if nobody is signed in."""
    cookie = request.cookies.get(COOKIE)
    return None if cookie is None else door.sessions.read(cookie)


async def _signed_in(request: Request, door: DoorDep) -> Session:
    given = request.headers.get(KEY_HEADER)
    if given is not None:
        door.keys.check(given.encode("latin-1"), request.scope)
        return _GUESTS
    session = session_of(request, door)
    if session is None:
        raise SignInFirst(f"Nobody is signed in. Sign in at /sign-in, or send an API key in the header {KEY_HEADER}.")
    request.state.session = session
    return session


SignedIn = Annotated[Session, Depends(_signed_in)]


async def _form(request: Request, session: SignedIn) -> ImmutableMultiDict[str, str]:
    check_same_origin(request)
    form = await read_form(request)
    if not session.owns(form.get(TOKEN_FIELD, "")):
        raise Forbidden("This form is not of your session any more. Go back, reload the page, and send it again.")
    return form


Form = Annotated[ImmutableMultiDict[str, str], Depends(_form)]
"""Dependency that returns the fields of a form that was sent from one of our pages by its signed-in user."""


def check_same_origin(request: Request) -> None:
    """Raise Forbidden if the browser says that another site has sent this request."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        same = site in ("same-origin", "none")
    else:
        origin = request.headers.get("origin")
        same = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if not same:
        raise Forbidden("This was sent by a page of another site, and is not carried out.")


def set_cookie(request: Request, answer: Response, value: str) -> None:
    """Set the session's cookie.

    Script cannot read it, other sites cannot make a browser send it and, over https, it is never sent in the clear.
    """
    secure = request.url.scheme == "https"
    age = int(LASTS.total_seconds())
    answer.set_cookie(COOKIE, value, max_age=age, path="/", secure=secure, httponly=True, samesite="strict")


def remove_cookie(request: Request, answer: Response) -> None:
    """Make the browser forget the session's cookie."""
    secure = request.url.scheme == "https"
    answer.delete_cookie(COOKIE, path="/", secure=secure, httponly=True, samesite="strict")
