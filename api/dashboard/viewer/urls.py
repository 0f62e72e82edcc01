"""Addresses at which traces are shown: on the viewer's own origin, and each opens one trace alone."""

from __future__ import annotations

from typing import cast
from urllib.parse import quote

from starlette.requests import Request

from api.dependencies import Services
from security.signed_trace_urls import SignedTraceUrls, TraceRef
from settings import Settings

_OTHER_LOOPBACK_NAME = {"127.0.0.1": "localhost", "localhost": "127.0.0.1"}
"""Other name of each name of loopback. Cookies ignore ports, so the viewer is addressed by another name than the
pages: then the browser does not send the pages' cookie to it."""


def has_trace_viewer(settings: Settings) -> bool:
    """Tell whether traces can be shown: the viewer must be served, and there must be a key to seal its addresses."""
    return bool(settings.secret_key) and bool(settings.viewer_url or settings.viewer_port)


def trace_viewer_url(request: Request, services: Services, project: str, run_id: str, number: int) -> str:
    """Return the address at which the viewer shows the trace of an Attempt; it is valid for an hour.

    Raises:
        ConfigurationError: There is no key to seal the address with.
    """
    traces = cast("SignedTraceUrls", request.app.state.traces)
    address = traces.sign(TraceRef(services.settings.workspace, project, run_id, number))
    return f"{_origin(request, services.settings)}/index.html?trace={quote(f'traces/{address}.zip', safe='')}"


def _origin(request: Request, settings: Settings) -> str:
    if settings.viewer_url is not None:
        return settings.viewer_url.rstrip("/")
    host = request.url.hostname or settings.host
    host = _OTHER_LOOPBACK_NAME.get(host, host)
    return f"{request.url.scheme}://{f'[{host}]' if ':' in host else host}:{settings.viewer_port}"
