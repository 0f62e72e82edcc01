"""Links to Handoffs: who has one answers a question without a key (docs/contract.md, section 22).

The secret of a link stands behind its `#`, which browsers send to nobody, so no log has it, not even that of a proxy. A
look at the address does not use the link up, as chats look for a preview. A press of a button sends the secret, which
is exchanged for a cookie, once. The cookie is good for this Handoff alone, and as long as that is open.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.attempts import live_calls
from api.attempts.live_calls import FREQUENT, LiveQuery, PictureQuery, Place
from api.dashboard.auth import TOKEN_FIELD
from api.dashboard.forms import read_form
from api.dashboard.page_route import PageRoute
from api.dashboard.rendering import redirect, render_page
from api.dependencies import Services, ServicesDep
from api.handoffs import answers
from api.http.access import audit_note, caller_of
from callboard.schemas.errors import BadRequest, Conflict, Forbidden, NotFound, Unauthorized
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.handoffs import HandoffBody, HandoffLink
from callboard.schemas.workflow import names
from callboard.schemas.workflow.live import LiveHolder
from callboard.security.apikeys import Caller
from callboard.security.signed_links import HANDOFF_PATH, HandoffPass, HandoffRef, handoff_link, read_link, sign_link
from callboard.telemetry.log_context import add_log_fields

_COOKIE = "callboard-handoff"
_WEBHOOK_ID = "handoffs-webhook"
"""Takes the place of a key's id where a project's webhook was sent the link. No key has such an id."""
_FORM_LIMIT = 64 * 1024
"""Largest form in bytes: anybody can send one, so it must not take much memory."""
_NO_LINK = "This link has expired, or its question was answered. Ask for another one."


class _Route(PageRoute):
    """A route of these pages, which say to no other site where they are."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            response = await handler(request)
            response.headers["referrer-policy"] = "no-referrer"
            return response

        return handle


router = APIRouter(route_class=_Route, include_in_schema=False, prefix=HANDOFF_PATH)


async def make(
    request: Request, services: Services, caller: Caller, project: str, run_id: str, handoff_id: str
) -> HandoffLink:
    """Return a new link to an open Handoff of this Run. Whoever uses it answers in the name of this caller.

    Raises:
        NotFound, Conflict: There is no such Handoff of this Run, or it is not open.
        ConfigurationError: There is no key to seal a link with.
        Unavailable: Temporal does not answer.
    """
    handoff = await answers.require_open(services, project, run_id, handoff_id)
    run_id = names.run_of_handoff(handoff_id)  # that of the path may end before a Create for which others wait
    ref = HandoffRef(services.settings.workspace, project, run_id, handoff_id, caller.id, secrets.token_urlsafe(16))
    url, expires_at = handoff_link(ref, services.ring, str(request.base_url), handoff.expires_at)
    return HandoffLink(url=url, expires_at=expires_at)


@router.get("")
async def page(request: Request, services: ServicesDep) -> Response:
    """Show the question of the cookie, and the button that opens that of a link."""
    try:
        return await _render(request, services, await _require_pass(request, services))
    except (Unauthorized, Forbidden, NotFound, Conflict):
        return render_page(request, "answer.html", {"handoff": None}, form_token="")


@router.post("/open")
async def open_link(request: Request, services: ServicesDep) -> Response:
    """Exchange a link for the cookie, once. Whoever sends this has the link, so it may come from anywhere."""
    form = await read_form(request, _FORM_LIMIT)
    ref = read_link(form.get("link", ""), HandoffRef, services.ring)
    if ref is None:
        raise Conflict(_NO_LINK)
    await _check(request, services, ref, "handoff.open")
    handoff = await answers.require_open(services, ref.project, ref.run_id, ref.handoff_id)
    await services.handoffs.open_link(handoff.id, ref.nonce)
    held = HandoffPass(**{**vars(ref), "nonce": secrets.token_urlsafe(16)})
    cookie, expires_at = sign_link(held, services.ring, handoff.expires_at)
    response = redirect(HANDOFF_PATH, done="open")
    secure = request.url.scheme == "https"
    response.set_cookie(
        _COOKIE, cookie, expires=expires_at, path=HANDOFF_PATH, secure=secure, httponly=True, samesite="strict"
    )
    return response


@router.post("/complete")
async def complete(request: Request, services: ServicesDep) -> Response:
    """Answer the question of the cookie."""
    return await _answer(request, services, "complete", answers.complete_by_form)


@router.post("/decline")
async def decline(request: Request, services: ServicesDep) -> Response:
    """Decline the question of the cookie."""
    return await _answer(request, services, "decline", answers.decline_by_form)


@router.get("/live", dependencies=[FREQUENT])
async def watch(request: Request, services: ServicesDep, query: Annotated[PictureQuery, Query()]) -> Response:
    """Get the newest picture of the browser that the question of the cookie is about, once there is one."""
    place, _ = await _require_browser(request, services)
    shown = await live_calls.picture(services, place, query)
    await _require_browser(request, services)  # the question may have ended while this waited
    return shown


@router.get("/live/state", dependencies=[FREQUENT])
async def read_state(request: Request, services: ServicesDep, query: Annotated[LiveQuery, Query()]) -> Response:
    """Get who has that browser, and what it asks, once that has changed."""
    place, holder = await _require_browser(request, services)
    told = await live_calls.state(services, place, holder, query.after)
    await _require_browser(request, services)
    return told


@router.post("/live/control", dependencies=[FREQUENT])
async def control(request: Request, services: ServicesDep) -> Response:
    """Take that browser, or give it back."""
    place, holder = await _require_browser(request, services, "live.control")
    return await live_calls.control(request, services, place, holder)


@router.post("/live/input", dependencies=[FREQUENT])
async def act(request: Request, services: ServicesDep) -> Response:
    """Do something to its page."""
    place, holder = await _require_browser(request, services)
    return await live_calls.act(request, services, place, holder)


async def _require_browser(request: Request, services: Services, action: str | None = None) -> tuple[Place, LiveHolder]:
    """Return the Attempt whose browser the question of the cookie is about, and who holds that by this link.

    Raises:
        Conflict: The question was answered, has ended, or is about no browser.
        Unauthorized, Forbidden, StoreError, Unavailable: See `_require_pass`.
    """
    ref = await _require_pass(request, services, action)
    place = Place(ref.project, names.run_of_handoff(ref.handoff_id), names.attempt_of_handoff(ref.handoff_id))
    if not await live_calls.has_open_handoff(services, place, ref.handoff_id):
        raise Conflict(_NO_LINK)
    caller = caller_of(request)
    return place, LiveHolder(id=f"{caller.id}/{ref.nonce}", name=caller.name, handoff=ref.handoff_id)


async def _answer(request: Request, services: Services, done: str, answer: answers.ByForm) -> Response:
    ref = await _require_pass(request, services, f"handoff.{done}")
    form = await read_form(request, _FORM_LIMIT)
    if not hmac.compare_digest(form.get(TOKEN_FIELD, "").encode("utf-8", "replace"), ref.nonce.encode()):
        raise Forbidden("This form belongs to another question. Go back, reload the page, and send it again.")
    try:
        await answer(services, ref.project, ref.run_id, ref.handoff_id, form)
    except BadRequest as error:
        return await _render(request, services, ref, error)
    response = redirect(HANDOFF_PATH, done=done)
    response.delete_cookie(_COOKIE, path=HANDOFF_PATH)
    return response


async def _render(request: Request, services: Services, ref: HandoffPass, error: BadRequest | None = None) -> Response:
    handoff = await answers.require_open(services, ref.project, ref.run_id, ref.handoff_id)
    data = {"handoff": HandoffBody.of(handoff).model_dump(mode="json", by_alias=True)}
    return render_page(request, "answer.html", data, error=error, form_token=ref.nonce)


async def _require_pass(request: Request, services: Services, action: str | None = None) -> HandoffPass:
    """Return what the cookie holds. Raises as `_check` does, and Unauthorized if there is no good cookie."""
    ref = read_link(request.cookies.get(_COOKIE, ""), HandoffPass, services.ring)
    if ref is None:
        raise Unauthorized(_NO_LINK)
    await _check(request, services, ref, action)
    return ref


async def _check(request: Request, services: Services, ref: HandoffRef, action: str | None) -> None:
    """Have the request be one of who has made the link, which says what may be done and is in the audit.

    Raises:
        Unauthorized: Its key was revoked, or has ended, or the project has no webhook any more.
        Forbidden: It may not answer.
        StoreError, Unavailable: The store does not say whether it is good.
    """
    audit_note(request.scope).action = action
    add_log_fields(project=ref.project, runId=ref.run_id, handoffId=ref.handoff_id)
    if ref.key_id is None:
        caller = await _webhook(services, ref.project)
    else:
        caller = await services.keys.check_id(ref.key_id)
    request.state.caller = caller
    if ref.workspace != services.settings.workspace or not caller.sees(ref.project) or not caller.has(Scope.HANDOFFS):
        raise Forbidden("The API key that has made this link may not answer any more.")


async def _webhook(services: Services, project: str) -> Caller:
    """Return the webhook of a project as who has sent a request: it was given the link, which no key has made.

    Raises:
        Unauthorized: There is no such project any more, or it has no webhook.
        StoreError: The store failed.
    """
    manifest = await services.catalog.get_current(project)
    if manifest is None or manifest.settings.handoffs.webhook is None:
        raise Unauthorized(_NO_LINK)
    scopes, projects = frozenset({Scope.HANDOFFS}), frozenset({project})
    return Caller(id=_WEBHOOK_ID, name=f"handoffs.webhook of {project}", scopes=scopes, projects=projects)
