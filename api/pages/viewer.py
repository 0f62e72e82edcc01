"""Where a trace is shown: on the viewer's own origin, by an address that opens this trace alone."""

from __future__ import annotations

from typing import cast
from urllib.parse import quote

from starlette.requests import Request

from api.parts import Parts
from security.trace_addresses import TraceAddresses, TraceOf
from settings import Settings

_OTHER_NAME = {"127.0.0.1": "localhost", "localhost": "127.0.0.1"}
"""Cookies know no ports. Under the other name of loopback, not even the browser sends ours to the viewer."""


def has_viewer(settings: Settings) -> bool:
    """Whether traces can be shown: the viewer is served, and its addresses can be sealed."""
    return bool(settings.secret_key) and bool(settings.viewer_url or settings.viewer_port)


def viewer_address(request: Request, parts: Parts, project: str, run_id: str, number: int) -> str:
    """The address of the viewer with the trace of an Attempt in it, good for an hour.

    Raises:
        ConfigurationError: There is no key to seal it with.
    """
    traces = cast("TraceAddresses", request.app.state.traces)
    address = traces.make(TraceOf(parts.settings.workspace, project, run_id, number))
    return f"{_origin(request, parts.settings)}/index.html?trace={quote(f'traces/{address}.zip', safe='')}"


def _origin(request: Request, settings: Settings) -> str:
    if settings.viewer_url is not None:
        return settings.viewer_url.rstrip("/")
    host = request.url.hostname or settings.host
    host = _OTHER_NAME.get(host, host)
    return f"{request.url.scheme}://{f'[{host}]' if ':' in host else host}:{settings.viewer_port}"
