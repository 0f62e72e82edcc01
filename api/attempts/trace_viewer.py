"""The second application of the api service: the trace viewer of the installed Playwright, traces for it, and files.

Snapshots in a trace are pages of strange sites, and files that Attempts have left are strangers', too. So there is
nothing to steal on this origin: it sets and reads no cookie, and gives out one trace, or one file, to whoever knows its
sealed address. What it serves can reach only this origin.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from api.attempts.artifacts import find_file, find_trace
from api.dependencies import Services
from callboard.schemas.errors import ConfigurationError, StoreError
from callboard.security.keyring import KeyRing
from callboard.security.signed_links import FileRef, TraceRef, read_link, sign_link
from callboard.settings import Settings
from callboard.storage.store import Store

_OTHER_LOOPBACK_NAME = {"127.0.0.1": "localhost", "localhost": "127.0.0.1"}
"""Other name of each name of loopback. Cookies ignore ports, so the viewer is addressed by another name than the
pages: then the browser does not send the pages' cookie to it."""

_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def has_trace_viewer(settings: Settings) -> bool:
    """Tell whether traces can be shown: the viewer must be served, and there must be a key to seal its addresses."""
    return bool(settings.secret_key) and bool(settings.viewer_url or settings.viewer_port)


def trace_viewer_url(request: Request, services: Services, project: str, run_id: str, number: int) -> str:
    """Return the address at which the viewer shows the trace of an Attempt; it is valid for an hour.

    Args:
        request: A request for one of the pages, which are on the same host as the viewer unless a setting says more.
        services: The services of the request.
        project: The project of the Run.
        run_id: The id of the Run.
        number: The number of the Attempt.

    Raises:
        ConfigurationError: There is no key to seal the address with.
    """
    address, _ = sign_link(TraceRef(services.settings.workspace, project, run_id, number), services.ring)
    return f"{viewer_origin(request, services.settings)}/index.html?trace={quote(f'traces/{address}.zip', safe='')}"


def viewer_origin(request: Request, settings: Settings) -> str:
    """Return the origin of the viewer, for the client of a request to the API."""
    if settings.viewer_url is not None:
        return settings.viewer_url.rstrip("/")
    host = request.url.hostname or settings.host
    host = _OTHER_LOOPBACK_NAME.get(host, host)
    return f"{request.url.scheme}://{f'[{host}]' if ':' in host else host}:{settings.viewer_port}"


def create_viewer(*, workspace: str, ring: KeyRing, store: Store) -> Starlette:
    """Create the application of the trace viewer.

    Args:
        workspace: The workspace whose traces are given out.
        ring: The keys that open the sealed addresses of traces.
        store: The artifact store that holds the traces.

    Raises:
        ConfigurationError: The installed Playwright has no viewer.
    """
    folder = viewer_folder()

    async def trace(request: Request) -> Response:
        attempt = read_link(request.path_params["address"], TraceRef, ring)
        if attempt is None or attempt.workspace != workspace:
            return PlainTextResponse("This address has expired. Open the trace again from the page of its Run.", 404)
        found = await find_trace(store, attempt.project, attempt.run_id, attempt.number)
        return found or PlainTextResponse("This trace does not exist any more.", 404)

    async def file(request: Request) -> Response:
        of = read_link(request.path_params["address"], FileRef, ring)
        if of is None or of.workspace != workspace:
            return PlainTextResponse("This address has expired. Ask for the file's link again.", 404)
        found = await find_file(store, of.project, of.run_id, of.number, of.name)
        return found or PlainTextResponse("This file does not exist any more.", 404)

    async def store_failed(_: Request, error: Exception) -> Response:
        return PlainTextResponse(f"The artifact store failed: {error}", 503)

    headers = {**_HEADERS, "content-security-policy": _policy(folder)}

    async def with_headers(request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers.update({**headers, **_own_policy(response)})
        return response

    return Starlette(
        routes=[
            Route("/traces/{address}.zip", trace),
            Route("/files/{address}", file),
            Mount("/", StaticFiles(directory=folder)),
        ],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=with_headers)],
        exception_handlers={StoreError: store_failed},
    )


def viewer_folder() -> Path:
    """Return the folder of the installed Playwright's viewer; Playwright is not imported. Raises ConfigurationError."""
    found = importlib.util.find_spec("playwright")
    for place in (found and found.submodule_search_locations) or ():
        folder = Path(place) / "driver" / "package" / "lib" / "vite" / "traceViewer"
        if (folder / "index.html").is_file():
            return folder
    raise ConfigurationError("The installed Playwright has no trace viewer. Install Callboard's own dependencies.")


def _own_policy(response: Response) -> dict[str, str]:
    """Return the Content-Security-Policy that an answer has of its own, as a file does."""
    own = response.headers.get("content-security-policy")
    return {} if own is None else {"content-security-policy": own}


def _policy(folder: Path) -> str:
    """Return the Content-Security-Policy of the viewer.

    It lets the viewer load its own parts, draw snapshots in frames, and ask this origin for a trace.
    """
    inline = _INLINE_SCRIPT.findall((folder / "index.html").read_bytes())
    hashes = " ".join(f"'sha256-{b64encode(hashlib.sha256(each).digest()).decode('ascii')}'" for each in inline)
    return (
        "default-src 'none'; "
        f"script-src 'self' {hashes}; "
        "style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; "
        "media-src 'self' data: blob:; "
        "font-src 'self' data:; "
        "connect-src 'self' data:; "
        "worker-src 'self'; "
        "frame-src 'self' blob: data:; "
        "manifest-src 'self'; "
        "form-action 'none'; "
        "base-uri 'none'; "
        "frame-ancestors 'self'"
    )


_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    # Another Playwright version has other files of the same names, so browsers must ask whether a file has changed.
    "cache-control": "no-cache",
}
