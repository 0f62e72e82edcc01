"""Rendering of data as an answer: a page for people, or the same data as JSON for clients that ask for JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.dashboard.assets import ASSETS
from api.dashboard.forms import errors_by_path
from api.dashboard.json_tree import build_tree
from callboard.projects.manifest import Manifest
from callboard.schemas.errors import CallboardError
from callboard.schemas.rest.access import Scope
from callboard.security.apikeys import Caller
from callboard.settings import installed_version

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; "
    "script-src 'self'; "
    "style-src 'self'; "
    "font-src 'self'; "
    "img-src 'self'; "
    "connect-src 'self'; "
    "form-action 'self'; "
    "base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""Content-Security-Policy of the pages. It allows nothing from other origins and nothing inline, so that text that a
site or a user controls can never become code."""

_PROJECT_TABS = (
    ("overview", "", "Overview", Scope.RUNS_READ),
    ("runs", "/runs", "Runs", Scope.RUNS_READ),
    ("handoffs", "/handoffs", "Handoffs", Scope.HANDOFFS),
    ("jobs", "/jobs", "Jobs", Scope.JOBS),
    ("deliveries", "/deliveries", "Deliveries", Scope.RUNS_READ),
    ("playground", "/playground", "Playground", Scope.RUNS_START),
    ("auth-sessions", "/auth-sessions", "AuthSessions", Scope.AUTH_SESSIONS),
    ("versions", "/versions", "Versions", Scope.RUNS_READ),
    ("env-vars", "/env-vars", "Variables", Scope.ENV_VARS),
)
"""The pages of a project, each as its key, the suffix of its address, its title, and the scope that it needs."""

_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
    "vary": "accept, cookie",
}


def with_security_headers(response: Response) -> Response:
    """Return the same answer with the security headers that every page has."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def wants_json(request: Request) -> bool:
    """Tell whether the address ends in `.json`, or the request accepts JSON but no HTML."""
    accept = request.headers.get("accept", "")
    return request.url.path.endswith(".json") or ("application/json" in accept and "text/html" not in accept)


def render_page(
    request: Request,
    template: str,
    data: Mapping[str, Any],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    manifest: Manifest | None = None,
    error: CallboardError | None = None,
    **context: Any,
) -> Response:
    """Return the page made from `template`, or `data` as JSON if the request asks for that.

    Args:
        request: The request that is answered.
        template: The name of a file in `templates/`.
        data: The content of the page; all of it can be written as JSON.
        status: The status of the answer.
        headers: The headers of the answer.
        manifest: The project that the page is about, if it is about one.
        error: What is wrong with the form that was sent, for the fields that it names.
        context: What the template needs beside the content, and the JSON leaves out.
    """
    status = status if error is None else error.status
    if wants_json(request):
        return with_security_headers(Response(_json(data), status, headers, "application/json"))
    session = getattr(request.state, "session", None)
    caller: Caller | None = getattr(request.state, "caller", None)
    common: dict[str, Any] = {
        "request": request,
        "session": session,
        "may": _may(caller),
        "sees_all_projects": caller is not None and caller.projects is None,
        "correlation_id": request.state.correlation_id,
        "errors": {} if error is None else errors_by_path(error),
        "message": None if error is None else error.message,
        "done": request.query_params.get("done"),
        "done_name": request.query_params.get("name", ""),
    }
    if manifest is not None:
        common |= {"project": manifest.project, "logs_in": manifest.settings.auth_sessions.enabled}
    text = _ENVIRONMENT.get_template(template).render({**common, **context, **data})
    # What user code returned may hold half a surrogate pair, which UTF-8 cannot encode: it is shown as in JSON, \ud800.
    body = text.encode("utf-8", "backslashreplace")
    # Pages that follow a Run ask again and again, and mostly nothing has changed: then the answer is 304.
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    if status == 200 and request.headers.get("if-none-match") == tag:
        return with_security_headers(Response(status_code=304, headers={"etag": tag}))
    return with_security_headers(Response(body, status, {"etag": tag, **(headers or {})}, "text/html; charset=utf-8"))


def redirect(address: str, **query: str) -> Response:
    """Redirect to a page after a form; its query says what was done."""
    return RedirectResponse(f"{address}{query_string(query)}", 303)


def _may(caller: Caller | None) -> Callable[[str], bool]:
    """Return what templates ask: whether the key of who looks at the page has a scope."""
    return lambda scope: caller is not None and caller.has(Scope(scope))


def _json(data: Mapping[str, Any]) -> bytes:
    """Return the JSON text, all in ASCII: half a surrogate pair can be written only as an escape."""
    return json.dumps(dict(data), allow_nan=False, separators=(",", ":")).encode("ascii")


def format_time(value: datetime | str | None) -> dict[str, str] | None:
    """Return a time in the format of `<time>`, and as a text in UTC that is shown where there is no script."""
    if value is None:
        return None
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    at = at.astimezone(UTC)
    return {
        "machine": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "text": f"{at:%Y-%m-%d %H:%M:%S} UTC",
    }


def _parse_time(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


def format_duration(value: timedelta | float | None) -> str:
    """Return a duration as a text such as `800 ms`, `42.0 s`, `3 min 5 s` or `2 h 4 min`."""
    if value is None:
        return "–"
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def format_bytes(value: int) -> str:
    """Return a size as a text such as `812 B`, `4.1 kB` or `412 MB`, in powers of 1000, as networks and disks count."""
    size = float(value)
    for unit in ("B", "kB", "MB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.5 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _thousands(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _rate(value: float) -> str:
    """Return a rate with two digits at least, since it changes all the time."""
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"


def _segment(value: str) -> str:
    return quote(value, safe="")


def query_string(values: Mapping[str, Any], **changed: Any) -> str:
    """Return the query part of an address, including its `?`; empty values are left out."""
    pairs: list[tuple[str, str]] = []
    for name, value in {**values, **changed}.items():
        items: list[Any] = list(value) if isinstance(value, (list, tuple, set, frozenset)) else [value]  # pyright: ignore[reportUnknownArgumentType]
        pairs += [(name, str(item)) for item in items if item not in (None, "")]
    return f"?{urlencode(pairs)}" if pairs else ""


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _places(stack: str, message: str) -> str:
    """Return a stack trace without its lines that the message of the error has."""
    return "\n".join(line for line in stack.rstrip().split("\n") if line[:1].isspace() or line not in message)


def _without(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key != name}


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("api.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    filters: dict[str, Any] = environment.filters
    filters |= {
        "when": format_time,
        "moment": _parse_time,
        "duration": format_duration,
        "segment": _segment,
        "pretty": _pretty,
        "tree": build_tree,
        "places": _places,
    }
    filters |= {"bytes": format_bytes, "without": _without, "thousands": _thousands, "rate": _rate}
    variables: dict[str, Any] = environment.globals
    variables |= {
        "assets": ASSETS,
        "project_tabs": _PROJECT_TABS,
        "query": query_string,
        "callboard_version": installed_version(),
    }
    return environment


_ENVIRONMENT = _environment()
