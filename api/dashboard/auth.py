"""Authentication for the pages: the session of a cookie, and the check that a change comes from a form of its owner."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends
from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request
from starlette.responses import Response

from api.dashboard.forms import FormFile, read_form, read_form_with_file
from api.dependencies import Services, ServicesDep
from api.http.key_check import KEY_HEADER, read_key_header
from callboard.schemas.errors import Forbidden, Unauthorized
from callboard.security.sign_in_sessions import SESSION_LIFETIME, Session

COOKIE = "callboard-session"
TOKEN_FIELD = "token"  # noqa: S105 - the name of a field
"""Name of the field that holds the token of the session, in every form that changes something."""
_TOKEN_HEADER = "x-callboard-token"  # noqa: S105 - the name of a header
"""Name of the header that holds it in calls of the API that a page sends."""


class SignInRequired(Unauthorized):
    """Nobody is signed in; a browser is redirected to the sign-in form."""


async def read_session(request: Request, services: Services) -> Session | None:
    """Return the session of the request's cookie, and note who calls; None if nobody is signed in.

    Raises:
        Unavailable: The store does not say whether the session, or its key, is still good.
    """
    cookie = request.cookies.get(COOKIE)
    session = None if cookie is None else services.sessions.read(cookie)
    if session is None:
        return None

    async def check() -> None:
        if await services.ended_sessions.has(session):
            raise Unauthorized("Somebody has signed out of the session.")
        request.state.caller = await services.keys.check_id(session.key_id)

    try:
        await check()
    except Unauthorized:
        return None
    request.state.session = session
    request.state.check_again = check
    return session


async def require_session(request: Request, services: ServicesDep) -> Session:
    """Return the session of who is signed in, or that of API clients for a request with a key.

    Raises:
        Unauthorized: Nobody is signed in, or the key is not good.
        Unavailable: The store does not say whether the key is good.
    """
    # A bearer token is not read here: a proxy that people sign in to may add its own.
    key = read_key_header(request.headers)
    if key is not None:
        request.state.caller = await services.keys.check(key, request.scope)
        # Requests of clients that send a key each time come from no page, so they have no token of a form.
        return Session(nonce="", expires_at=0, form_token="", key_id=request.state.caller.id)
    session = await read_session(request, services)
    if session is None:
        raise SignInRequired(
            f"Nobody is signed in. Sign in at /sign-in, or send an API key in the header {KEY_HEADER}."
        )
    return session


SessionDep = Annotated[Session, Depends(require_session)]


async def _verified_form(request: Request, session: SessionDep) -> ImmutableMultiDict[str, str]:
    check_same_origin(request)
    form = await read_form(request)
    _check_owner(session, form)
    return form


async def verified_form_with_file(
    request: Request, session: Session, limit: int
) -> tuple[ImmutableMultiDict[str, str], FormFile | None]:
    """Return the fields, and the file, of a form that was sent from one of our pages by its signed-in user.

    Raises:
        Forbidden: It was sent from elsewhere.
        PayloadTooLarge: It has more than `limit` bytes.
        BadRequest: It is no form.
    """
    check_same_origin(request)
    form, file = await read_form_with_file(request, limit)
    _check_owner(session, form)
    return form, file


def _check_owner(session: Session, form: ImmutableMultiDict[str, str]) -> None:
    if not session.owns(form.get(TOKEN_FIELD, "")):
        raise Forbidden("This form belongs to an earlier session. Go back, reload the page, and send it again.")


FormDep = Annotated[ImmutableMultiDict[str, str], Depends(_verified_form)]
"""Dependency that returns the fields of a form that was sent from one of our pages by its signed-in user."""


async def authorizes_call(services: Services, request: Request) -> bool:
    """Tell whether a page of ours sends this call of the API for who is signed in, and note who calls.

    Such a call has the token of the session in a header, whatever it does: no page of another site knows the token, nor
    may a page of another site send the header.

    Raises:
        Forbidden: A page of another site has sent it, or the token belongs to an earlier session.
        Unavailable: The store does not say whether the session, or its key, is still good.
    """
    token = request.headers.get(_TOKEN_HEADER)
    if token is None:
        return False
    check_same_origin(request)
    session = await read_session(request, services)
    if session is not None and not session.owns(token):
        raise Forbidden("This page belongs to an earlier session. Reload it, and send the call again.")
    return session is not None


def check_same_origin(request: Request) -> None:
    """Raise Forbidden if the browser says that another site has sent this request."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        is_same_origin = site in ("same-origin", "none")
    else:
        origin = request.headers.get("origin")
        is_same_origin = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if not is_same_origin:
        raise Forbidden("This request was sent by a page of another site, so it was refused.")


def set_session_cookie(request: Request, response: Response, value: str) -> None:
    """Set the session's cookie.

    Script cannot read it, other sites cannot make a browser send it and, over https, it is never sent in the clear.
    """
    secure = request.url.scheme == "https"
    age = int(SESSION_LIFETIME.total_seconds())
    response.set_cookie(COOKIE, value, max_age=age, path="/", secure=secure, httponly=True, samesite="strict")


def clear_session_cookie(request: Request, response: Response) -> None:
    """Make the browser forget the session's cookie."""
    secure = request.url.scheme == "https"
    response.delete_cookie(COOKIE, path="/", secure=secure, httponly=True, samesite="strict")
