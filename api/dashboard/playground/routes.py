"""The Playground, the page on which people start a Run by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from api.dashboard.auth import FormDep, SessionDep
from api.dashboard.forms import errors_by_path
from api.dashboard.page_route import page_router
from api.dashboard.playground.code_samples import code_samples
from api.dashboard.playground.form import SECRET_FIELDS, start_request_body
from api.dashboard.playground.schema_fields import parameters_skeleton, schema_fields
from api.dashboard.rendering import render_page
from api.deliveries.bodies import try_body
from api.dependencies import SINK_TESTS, Services, ServicesDep
from api.http.access import audit_note, caller_of, requires
from api.projects.lookup import OpenProjectDep, ProjectDep
from api.request_secrets import resolve_run_sink
from api.runs.idempotency import new_run_id
from api.runs.start import start_run
from projects.manifest import Manifest
from projects.sample_files import Sample
from schemas.errors import BadRequest, CallboardError, NotFound, TooMany, Unavailable
from schemas.rest.access import Scope
from schemas.rest.field_errors import field_error
from schemas.rest.json_text import validate_body
from schemas.rest.sink import SinkTestRequest
from schemas.workflow.delivery import SinkTestInput
from security.sign_in_sessions import Session

router = page_router("/projects/{projectName}/playground")


@router.get("", dependencies=[requires(Scope.RUNS_START)])
@router.get(".json", dependencies=[requires(Scope.RUNS_START)])
async def show_form(request: Request, services: ServicesDep, manifest: ProjectDep) -> Response:
    """Show the form, filled from the API's own samples."""
    query = request.query_params
    samples = await services.samples.get(services.store, manifest.project, manifest.version)
    api = query.get("api") or next(iter(manifest.apis), "")
    api_samples = [sample for sample in samples if sample.api == api]
    sample_name = query.get("sample")
    sample = next((each for each in api_samples if sample_name in (None, each.name)), None)
    described = await services.input_schemas.get(services.store, manifest.project, manifest.version)
    schema = described.of(api).input_schema
    parameters = sample.text if sample else "{}" if schema is None else parameters_skeleton(schema)
    values = {"api": api, "parameters": parameters, "version": query.get("version", "")}
    return await _render(request, services, manifest, values, sample=sample, is_filled_in=sample_name is not None)


@router.post("", dependencies=[requires(Scope.RUNS_START, "run.start")])
async def start(
    request: Request, services: ServicesDep, session: SessionDep, form: FormDep, manifest: OpenProjectDep
) -> Response:
    """Start the Run and redirect to it if the caller may read it, show the call as code, or send a test to the sink.

    If the input is wrong, show the form again, with an error beside each field.
    """
    values = {name: value for name, value in form.items() if name != "token"}
    try:
        body = start_request_body(values)
        if values.get("do") == "test":
            audit_note(request.scope).action = "sink.test"
            test = await _send_test(services, manifest, session, body)
            return await _render(request, services, manifest, values, test=test, is_filled_in=True)
        if values.get("do") == "show":
            audit_note(request.scope).action = None
            origin = f"{request.url.scheme}://{request.url.netloc}"
            calls = code_samples(services, origin, manifest.project, body)
            return await _render(request, services, manifest, values, calls=calls, is_filled_in=True)
        started = await start_run(services, manifest, body, None, caller_of(request).actor, by_hand=True)
    except (BadRequest, NotFound, TooMany, Unavailable) as error:
        return await _render(request, services, manifest, values, error=error, is_filled_in=True)
    if not caller_of(request).has(Scope.RUNS_READ):
        return await _render(request, services, manifest, values, started=started.run_id, is_filled_in=True)
    return RedirectResponse(f"/projects/{manifest.project}/runs/{started.run_id}", 303)


async def _send_test(services: Services, manifest: Manifest, session: Session, body: dict[str, Any]) -> dict[str, Any]:
    """Send one message to the sink that a start would use, and return its outcome, as data of the page.

    Raises:
        BadRequest: A field is wrong, or there is no sink.
        TooMany: The session has sent too many tests within a minute.
        ConfigurationError: There is no key to seal the sink with.
        Unavailable: Temporal does not answer, or no worker has sent the message.
    """
    if wait := services.sink_tests.retry_after(session.nonce):
        raise TooMany(f"At most {SINK_TESTS} tests may be sent within a minute. Try again in {wait} seconds.")
    services.sink_tests.record(session.nonce)
    request = validate_body(SinkTestRequest, {"api": body["api"], "sink": body.get("sink")})
    test_id = f"test-{new_run_id()}"  # The message has it in place of a Run's id.
    sink = await resolve_run_sink(services, manifest, request.sink, test_id)
    if sink is None:
        raise field_error("sink", "a sink to send a test to; the project has none of its own")
    workspace = services.settings.workspace
    test = SinkTestInput(workspace=workspace, project=manifest.project, test_id=test_id, api=request.api, sink=sink)
    outcome = await services.deliveries.test_sink(test)
    result = try_body(outcome.record).model_dump(mode="json", by_alias=True)
    return {"id": test_id, "arrived": outcome.failure is None, "failure": outcome.failure, **result}


async def _render(
    request: Request,
    services: Services,
    manifest: Manifest,
    values: Mapping[str, str],
    *,
    error: CallboardError | None = None,
    calls: dict[str, str] | None = None,
    sample: Sample | None = None,
    test: dict[str, Any] | None = None,
    started: str | None = None,
    is_filled_in: bool = False,
) -> Response:
    logs_in = manifest.settings.auth_sessions.enabled
    lists = logs_in and caller_of(request).has(Scope.AUTH_SESSIONS)
    views = await services.auth_sessions.list_all(services.settings.workspace, manifest.project) if lists else []
    samples = await services.samples.get(services.store, manifest.project, manifest.version)
    described = await services.input_schemas.get(services.store, manifest.project, manifest.version)
    known = described.of(values.get("api", ""))
    field_errors = errors_by_path(error) if error is not None else {}
    data: dict[str, Any] = {
        "project": manifest.project,
        "apis": list(manifest.apis),
        "api": values.get("api", ""),
        "docstring": known.docstring,
        "fields": None if known.input_schema is None else [asdict(each) for each in schema_fields(known.input_schema)],
        "samples": [each.name for each in samples if each.api == values.get("api")],
        "errors": field_errors,
        "message": error.message if error else None,
        "sinkTest": test,
    }
    return render_page(
        request,
        "playground.html",
        data,
        status=200 if error is None else error.status,
        values={name: value for name, value in values.items() if name not in SECRET_FIELDS},
        chosen=sample.name if sample else None,
        is_filled_in=is_filled_in,
        logs_in=logs_in,
        recorded=manifest.settings.auth_sessions.type == "MANUAL",
        auth_sessions=[(view.id, view.status.value) for view in views],
        is_open=manifest.settings.api_access.enabled,
        calls=calls,
        started=started,
    )
