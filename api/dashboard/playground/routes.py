"""The Playground, the page on which people start a Run by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from api.dashboard.auth import Form, SignedIn
from api.dashboard.form_reader import errors_by_path
from api.dashboard.page_route import PageRoute
from api.dashboard.playground.form import SECRETS, body_of, calls_of
from api.dashboard.rendering import page
from api.deliveries.sink_tests import SinkTest, test_sink
from api.dependencies import Services, ServicesDep
from api.guards import require_open_project, require_project
from api.http.rate_limiter import RateLimiter
from api.runs.start import start_run
from projects.manifest import Manifest
from projects.samples import Sample, Samples
from schemas.errors import BadRequest, CallboardError, NotFound, TooMany, Unavailable
from security.sessions import Session

SINK_TESTS = 10
SINK_TESTS_WITHIN = timedelta(minutes=1)
"""Duration within which one session may send `SINK_TESTS` tests of sinks."""

router = APIRouter(route_class=PageRoute, include_in_schema=False, prefix="/projects/{project}/playground")


@router.get("")
@router.get(".json")
async def form(request: Request, parts: ServicesDep, _: SignedIn, project: str) -> Response:
    """Show the form, filled from the API's own samples."""
    manifest = await require_project(parts, project)
    asked = request.query_params
    samples = await _samples(request, parts, manifest)
    api = asked.get("api") or next(iter(manifest.apis), "")
    of_api = [sample for sample in samples if sample.api == api]
    wanted = asked.get("sample")
    sample = next((each for each in of_api if wanted in (None, each.name)), None)
    given = {"api": api, "parameters": sample.text if sample else "{}"}
    return await _page(request, parts, manifest, given, sample=sample, asked_for=wanted is not None)


@router.post("")
async def start(request: Request, parts: ServicesDep, session: SignedIn, form: Form, project: str) -> Response:
    """Start the Run and lead to it; or say beside each field what is wrong with it.

    Or show the call as code, or send a test to its sink.
    """
    manifest = await require_open_project(parts, project)
    given = {name: value for name, value in form.items() if name != "token"}
    try:
        body = body_of(given)
        if given.get("do") == "test":
            return await _tested(request, parts, manifest, session, given, body)
        if given.get("do") == "show":
            origin = f"{request.url.scheme}://{request.url.netloc}"
            calls = calls_of(parts, origin, manifest.project, body)
            return await _page(request, parts, manifest, given, calls=calls, asked_for=True)
        started = await start_run(parts, manifest, body, None)
    except (BadRequest, NotFound, TooMany, Unavailable) as error:
        return await _page(request, parts, manifest, given, error=error, asked_for=True)
    return RedirectResponse(f"/projects/{manifest.project}/runs/{started.run_id}", 303)


async def _tested(
    request: Request,
    parts: Services,
    manifest: Manifest,
    session: Session,
    given: Mapping[str, str],
    body: dict[str, Any],
) -> Response:
    """Send a test to the sink, and tell what came of it."""
    limit = cast("RateLimiter", request.app.state.sink_tests)
    if wait := limit.wait(session.nonce):
        raise TooMany(f"That were {SINK_TESTS} tests within a minute. Send the next one in {wait} s.")
    limit.record(session.nonce)
    test = await test_sink(parts, manifest, body)
    return await _page(request, parts, manifest, given, test=test, asked_for=True)


async def _page(
    request: Request,
    parts: Services,
    manifest: Manifest,
    given: Mapping[str, str],
    *,
    error: CallboardError | None = None,
    calls: dict[str, str] | None = None,
    sample: Sample | None = None,
    test: SinkTest | None = None,
    asked_for: bool = False,
) -> Response:
    logs_in = manifest.settings.auth_sessions.enabled
    views = await parts.auth_sessions.views(parts.settings.workspace, manifest.project) if logs_in else []
    samples = await _samples(request, parts, manifest)
    wrong = errors_by_path(error) if error is not None else {}
    data: dict[str, Any] = {
        "project": manifest.project,
        "apis": list(manifest.apis),
        "api": given.get("api", ""),
        "samples": [each.name for each in samples if each.api == given.get("api")],
        "errors": wrong,
        "message": error.message if error else None,
        "sinkTest": None if test is None else _told(test),
    }
    return page(
        request,
        "playground.html",
        data,
        status=200 if error is None else error.status,
        given={name: value for name, value in given.items() if name not in SECRETS},
        chosen=sample.name if sample else None,
        asked_for=asked_for,
        logs_in=logs_in,
        recorded=manifest.settings.auth_sessions.type == "MANUAL",
        auth_sessions=[(view.id, view.status.value) for view in views],
        is_open=manifest.settings.api_access.enabled,
        calls=calls,
    )


def _told(test: SinkTest) -> dict[str, Any]:
    """Return the outcome of a test of a sink, as data of a page."""
    came = test.came.model_dump(mode="json", by_alias=True)
    return {"id": test.id, "arrived": test.failure is None, "failure": test.failure, **came}


async def _samples(request: Request, parts: Services, manifest: Manifest) -> tuple[Sample, ...]:
    samples = cast("Samples", request.app.state.samples)
    return await samples.of(parts.store, manifest.project, manifest.version)
