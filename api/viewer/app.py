"""The second application of the api service: the trace viewer as the installed Playwright has it, and traces for it.

Snapshots in a trace are pages of strangers. So this origin has nothing to be taken: it sets no cookie, looks at none,
and gives out one trace to whoever brings its sealed address. What it serves reaches nothing but itself.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from base64 import b64encode
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from api.artifacts import stored_trace
from api.viewer.headers import Headers
from contract.errors import ConfigurationError, StoreError
from security.keyring import KeyRing
from security.trace_addresses import TraceAddresses
from storage.store import Store

_INLINE = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def create_viewer(*, workspace: str, ring: KeyRing, store: Store) -> Starlette:
    """The application.

    Args:
        workspace: The one whose traces are given out.
        ring: Opens their addresses.
        store: Where they are.

    Raises:
        ConfigurationError: The installed Playwright has no viewer.
    """
    folder = viewer_folder()
    addresses = TraceAddresses(ring)

    async def trace(request: Request) -> Response:
        of = addresses.read(request.path_params["address"])
        if of is None or of.workspace != workspace:
            return PlainTextResponse("This address has run out. Open the trace from the page of its Run again.", 404)
        found = await stored_trace(store, of.project, of.run_id, of.number)
        return found or PlainTextResponse("This trace is not there any more.", 404)

    async def store_failed(_: Request, error: Exception) -> Response:
        return PlainTextResponse(f"The artifact store failed: {error}", 503)

    return Starlette(
        routes=[Route("/traces/{address}.zip", trace), Mount("/", StaticFiles(directory=folder))],
        middleware=[Middleware(Headers, policy=_policy(folder))],
        exception_handlers={StoreError: store_failed},
    )


def viewer_folder() -> Path:
    """Where the installed Playwright has its viewer; it is not imported for that. Raises ConfigurationError."""
    found = importlib.util.find_spec("playwright")
    for place in (found and found.submodule_search_locations) or ():
        folder = Path(place) / "driver" / "package" / "lib" / "vite" / "traceViewer"
        if (folder / "index.html").is_file():
            return folder
    raise ConfigurationError("The installed Playwright has no trace viewer. Install Callboard's own dependencies.")


def _policy(folder: Path) -> str:
    """What the viewer may do: load its own parts, draw snapshots in frames, and ask this origin for a trace."""
    inline = _INLINE.findall((folder / "index.html").read_bytes())
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
