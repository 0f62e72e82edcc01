"""The codec endpoint: it decrypts payloads for the Temporal Web UI, if who looks at it is signed in here.

The UI asks it from the browser, by the protocol of Temporal's remote codecs. Where its origin is another one than that
of the pages, its requests come with credentials and after a preflight request. The cookie of the session is sent to
this origin by all pages of the same site, which on loopback are those of all ports; so the origin is checked, too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.dashboard.auth import check_same_origin, require_session
from api.dashboard.rendering import with_security_headers
from api.dependencies import Services
from api.http.access import Requirement
from api.http.errors import correlation_id, logged_error_response
from api.http.json_body import read_body
from callboard.schemas.errors import BadRequest, CallboardError
from callboard.schemas.rest.access import Scope
from callboard.temporal.remote_codec import RemoteCodec

CODEC_PATH = "/codec"
NAMESPACE_HEADER = "x-namespace"

_BODY_LIMIT = 4 * 1024 * 1024
"""Largest body in bytes. The Web UI sends the payloads of one event at a time, and Temporal has none above 2 MB."""


def install_codec(app: FastAPI, services: Services) -> None:
    """Make the application decrypt and encrypt payloads of its namespace for signed-in users of the Temporal Web UI.

    Raises:
        ConfigurationError: Payloads are to be encrypted, and there is no key, or a key is too short.
    """
    namespace = services.temporal_namespace
    codec = RemoteCodec(services.settings, namespace)
    ui_origin = _origin(services.settings.temporal_ui_url)
    cors = Middleware(
        CORSMiddleware,
        allow_origins=[] if ui_origin is None else [ui_origin],
        allow_methods=["POST"],
        allow_headers=["content-type", NAMESPACE_HEADER],
        allow_credentials=True,
    )

    def add_route(name: str, transform: Callable[[bytes], Awaitable[bytes]]) -> None:
        async def handle(request: Request) -> Response:
            try:
                await _check_caller(request, services, ui_origin)
                _check_namespace(request, namespace)
                answer = await transform(await read_body(request, _BODY_LIMIT))
            except CallboardError as error:
                return with_security_headers(logged_error_response(error, correlation_id(request)))
            return with_security_headers(Response(answer, media_type="application/json"))

        app.router.routes.append(Route(f"{CODEC_PATH}/{name}", handle, methods=["POST", "OPTIONS"], middleware=[cors]))

    add_route("decode", codec.decode)
    add_route("encode", codec.encode)


async def _check_caller(request: Request, services: Services, ui_origin: str | None) -> None:
    """Raise Forbidden if a page of another site asks, and Unauthorized if nobody is signed in and there is no key.

    Payloads hold all that Temporal knows, of every project, so this needs the scope `admin`.
    """
    origin = request.headers.get("origin")
    if origin is None or origin != ui_origin:
        check_same_origin(request)
    await require_session(request, services)
    await Requirement((Scope.ADMIN,), None)(request)


def _check_namespace(request: Request, namespace: str) -> None:
    asked = request.headers.get(NAMESPACE_HEADER)
    if asked is not None and asked != namespace:
        raise BadRequest(f"The payloads are of another namespace. This api has the keys of namespace {namespace!r}.")


def _origin(url: str | None) -> str | None:
    """Return the origin of an address as browsers write it: in lower case, and without the scheme's default port."""
    if url is None:
        return None
    parts = urlsplit(url.lower())
    default = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    return f"{parts.scheme}://{parts.netloc.removesuffix(default)}"
