"""Signing in to the shop, and what only members see."""

from __future__ import annotations

import secrets
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import APIRouter, Cookie, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from examples.site import member_pages as pages
from examples.site.logins import Logins, RefusedError, Session, Waiting
from examples.site.orders import PAGES

SESSION = "shop_session"
_FORM = "shop_form"
_WAITING = "shop_login"
_FRESH = {"cache-control": "no-store"}

_SessionCookie = Annotated[str | None, Cookie(alias=SESSION)]
_FormCookie = Annotated[str | None, Cookie(alias=_FORM)]
_WaitingCookie = Annotated[str | None, Cookie(alias=_WAITING)]


async def _fields(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode(errors="replace")))


_Fields = Annotated[dict[str, str], Depends(_fields)]


def routes(logins: Logins) -> APIRouter:
    """The pages around an account, over one shop's memory of logins."""
    router = APIRouter()

    @router.get("/login")
    async def show_form(session: _SessionCookie = None) -> Response:
        if logins.session(session) is not None:
            return _to("/orders")
        csrf = secrets.token_urlsafe()
        return _form(pages.sign_in(csrf), csrf)

    @router.post("/login")
    async def sign_in(fields: _Fields, form: _FormCookie = None) -> Response:
        try:
            _check_form(fields, form)
            match logins.sign_in(fields.get("user", ""), fields.get("password", "")):
                case Session() as session:
                    return _signed_in(session)
                case Waiting() as waiting:
                    answer = _to("/login/code")
                    _set(answer, _WAITING, waiting.cookie)
                    return answer
        except RefusedError as error:
            if error.status != 401:
                return _refused(error)
            csrf = secrets.token_urlsafe()
            return _form(pages.sign_in(csrf, str(error)), csrf, error.status)

    @router.get("/login/code")
    async def ask_code(waiting: _WaitingCookie = None) -> Response:
        if logins.waiting(waiting) is None:
            return _to("/login")
        csrf = secrets.token_urlsafe()
        return _form(pages.code(csrf), csrf)

    @router.post("/login/code")
    async def give_code(fields: _Fields, form: _FormCookie = None, waiting: _WaitingCookie = None) -> Response:
        try:
            _check_form(fields, form)
            answer = _signed_in(logins.give_code(waiting, fields.get("code", "")))
        except RefusedError as error:
            return _refused(error)
        answer.delete_cookie(_WAITING)
        return answer

    @router.get("/orders")
    async def orders(page: int = 1, session: _SessionCookie = None) -> Response:
        member = logins.use(session)
        if member is None:
            return _to("/login")
        answer = HTMLResponse(pages.orders(member.account, min(max(page, 1), PAGES)), headers=_FRESH)
        if member.cookies[-1] != session:
            _set(answer, SESSION, member.cookies[-1])
        return answer

    @router.post("/logout")
    async def sign_out(session: _SessionCookie = None) -> Response:
        logins.sign_out(session)
        answer = _to("/login")
        answer.delete_cookie(SESSION)
        return answer

    return router


def _check_form(fields: dict[str, str], cookie: str | None) -> None:
    """Refuse a form that another site has made: it cannot know what stands in the cookie."""
    if cookie is None or fields.get("csrf") != cookie:
        raise RefusedError("This form is out of date.", 403)


def _to(path: str) -> RedirectResponse:
    return RedirectResponse(path, status_code=303)


def _form(page: str, csrf: str, status: int = 200) -> HTMLResponse:
    answer = HTMLResponse(page, status, headers=_FRESH)
    _set(answer, _FORM, csrf)
    return answer


def _refused(error: RefusedError) -> HTMLResponse:
    return HTMLResponse(pages.refused(str(error)), error.status)


def _signed_in(session: Session) -> Response:
    answer = _to("/orders")
    _set(answer, SESSION, session.cookies[-1])
    answer.delete_cookie(_FORM)
    return answer


def _set(answer: Response, name: str, value: str) -> None:
    answer.set_cookie(name, value, httponly=True, samesite="lax")
