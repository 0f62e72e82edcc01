"""Who asks for a page: their session, by the cookie; and whether a change comes from a form of theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast
from urllib.parse import urlsplit

from fastapi import Depends
from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request
from starlette.responses import Response

from api.boundary import KEY_HEADER
from api.key_check import KeyCheck
from api.pages.forms import read_form
from contract.errors import Forbidden, Unauthorized
from security.sessions import LASTS, Session, Sessions

COOKIE = "callboard-session"
TOKEN_FIELD = "token"  # noqa: S105 - the name of a field
"""Of every form that changes something."""

_GUESTS = Session(nonce="", ends=0, form_token="")
"""Of those who send an API key with each request instead of a cookie: their requests come from no page."""


@dataclass(frozen=True)
class Door:
    """What decides who may see pages: made once by the application."""

    keys: KeyCheck
    sessions: Sessions


class SignInFirst(Unauthorized):
    """Nobody is signed in: a browser is led to the form."""


async def _door(request: Request) -> Door:
    return cast("Door", request.app.state.door)


DoorDep = Annotated[Door, Depends(_door)]


def session_of(request: Request, door: Door) -> Session | None:
    """Who is signed in."""
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
"""The fields of a form that somebody who is signed in has sent from one of our pages."""


def check_same_origin(request: Request) -> None:
    """Raises Forbidden if a browser says that another site has sent this."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        same = site in ("same-origin", "none")
    else:
        origin = request.headers.get("origin")
        same = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if not same:
        raise Forbidden("This was sent by a page of another site, and is not carried out.")


def set_cookie(request: Request, answer: Response, value: str) -> None:
    """Script cannot read it, no other site can send it and, over https, nothing sends it in the clear."""
    secure = request.url.scheme == "https"
    age = int(LASTS.total_seconds())
    answer.set_cookie(COOKIE, value, max_age=age, path="/", secure=secure, httponly=True, samesite="strict")


def remove_cookie(request: Request, answer: Response) -> None:
    """The browser forgets the session."""
    secure = request.url.scheme == "https"
    answer.delete_cookie(COOKIE, path="/", secure=secure, httponly=True, samesite="strict")
