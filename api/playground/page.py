"""The Playground, the page on which people start a Run by hand, see the call as code, or send a test to a sink."""

from __future__ import annotations

import json
import pprint
import shlex
import textwrap
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fastapi import Request
from starlette.responses import Response

from api.dashboard.auth import FormDep, SessionDep
from api.dashboard.forms import FormReader, errors_by_path, read_sink
from api.dashboard.page_route import page_router
from api.dashboard.rendering import redirect, render_page
from api.deliveries import try_body
from api.dependencies import SINK_TESTS, Services, ServicesDep
from api.http.access import CallerDep, audit_note, requires
from api.lookup import OpenProjectDep, ProjectDep
from api.playground.schema_fields import parameters_skeleton, schema_fields
from api.runs.records import run_summary
from api.runs.result import returned_values
from api.runs.start import start_run
from callboard.projects.manifest import Manifest
from callboard.schemas.errors import BadRequest, CallboardError, NotFound, TooMany, Unavailable
from callboard.schemas.mask import MASK
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.field_errors import field_error
from callboard.schemas.rest.json_text import validate_body
from callboard.schemas.rest.sink import SinkTestRequest
from callboard.schemas.workflow.auth import AuthSessionType
from callboard.schemas.workflow.delivery import SinkTestInput
from callboard.schemas.workflow.run import RunInput, RunType
from callboard.security.apikeys import Caller
from callboard.security.sign_in_sessions import Session
from callboard.starts.identity import new_run_id
from callboard.starts.request_secrets import resolve_run_sink
from callboard.storage.raw_json import load_json
from callboard.temporal.listing import RunFilter
from callboard.temporal.run_queries import RunDetails

_SECRET_FIELDS = ("secretAccessKey",)
"""Names of the fields whose values the page never repeats."""

_SHOWN_RUNS = 8

router = page_router("/projects/{projectName}/playground")


@router.get("", dependencies=[requires(Scope.RUNS_START)])
@router.get(".json", dependencies=[requires(Scope.RUNS_START)])
async def show_form(request: Request, services: ServicesDep, caller: CallerDep, manifest: ProjectDep) -> Response:
    """Show the form, filled from the API's own samples, or with the input of a Run, to edit it and run it again."""
    query = request.query_params
    if (run_id := query.get("run")) and caller.has(Scope.RUNS_READ):
        details = await services.run_queries.get_details(services.settings.workspace, manifest.project, run_id)
        return await _render(request, services, caller, manifest, await _values_of(services, details), tried=details)
    values = {"api": query.get("api") or next(iter(manifest.apis), ""), "version": query.get("version", "")}
    return await _render(request, services, caller, manifest, values, sample=query.get("sample"))


@router.post("", dependencies=[requires(Scope.RUNS_START, "run.start")])
async def start(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    session: SessionDep,
    form: FormDep,
    manifest: OpenProjectDep,
) -> Response:
    """Start the Run and show it if the caller may read it, show the call as code, or send a test to the sink.

    If the input is wrong, show the form again, with an error beside each field.
    """
    values = {"api": "", "parameters": "", **form}

    async def answer(**shown: Any) -> Response:
        return await _render(request, services, caller, manifest, values, **shown)

    try:
        body = _start_request(values)
        if values.get("do") == "test":
            audit_note(request.scope).action = "sink.test"
            return await answer(test=await _send_test(services, manifest, session, body))
        if values.get("do") == "show":
            audit_note(request.scope).action = None
            origin = f"{request.url.scheme}://{request.url.netloc}"
            return await answer(calls=_code_samples(services, origin, manifest.project, body))
        started = await start_run(services, manifest, body, None, caller.actor, by_hand=True)
    except (BadRequest, NotFound, TooMany, Unavailable) as error:
        return await answer(error=error)
    if not caller.has(Scope.RUNS_READ):
        return await answer(started=started.run_id)
    return redirect(f"/projects/{manifest.project}/playground", run=started.run_id)


async def _values_of(services: Services, details: RunDetails) -> dict[str, str]:
    """Return the values of the form for the input of a Run. What is secret has to be given anew.

    Raises:
        NotFound: It is no Run of an API.
        StoreError: Its parameters are missing, or cannot be read.
    """
    run, run_id = details.input, details.list_item.run_id
    if not isinstance(run, RunInput):
        raise NotFound(f"Run {run_id} has no input that can be edited: it is no Run of an API.")
    parameters = (await load_json(run.parameters, "parameters", run_id, services.store)).text
    values = {
        "api": run.api,
        "parameters": json.dumps(json.loads(parameters), indent=2, ensure_ascii=False),
        "maximumAttempts": str(run.maximum_attempts),
        "requestTimeout": f"{run.request_timeout.total_seconds():g}",
        "tags": " ".join(run.tags),
    }
    if run.queue_timeout is not None:
        values["queueTimeout"] = f"{run.queue_timeout.total_seconds():g}"
    if run.auth is not None and run.auth.ref.type is not AuthSessionType.RUNTIME:
        values |= {"authSessionId": run.auth.ref.id, "lease": "exclusive" if run.auth.is_exclusive else ""}
    return values


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
    caller: Caller,
    manifest: Manifest,
    values: dict[str, str],
    *,
    error: CallboardError | None = None,
    calls: dict[str, str] | None = None,
    sample: str | None = None,
    test: dict[str, Any] | None = None,
    started: str | None = None,
    tried: RunDetails | None = None,
) -> Response:
    """Return the page with these values in its form. If there are no parameters, they come from a sample.

    Without the name of one, that is the first sample; without samples, a beginning that the schema asks for.
    """
    project, api = manifest.project, values["api"]
    all_samples = await services.samples.get(services.store, project, manifest.version)
    samples = [each for each in all_samples if each.api == api]
    described = (await services.input_schemas.get(services.store, project, manifest.version)).of(api)
    schema = described.input_schema
    is_filled_in, chosen = "parameters" in values or sample is not None, None
    if "parameters" not in values:
        chosen = next((each for each in samples if sample in (None, each.name)), None)
        parameters = chosen.text if chosen else "{}" if schema is None else parameters_skeleton(schema)
        values = {**values, "parameters": parameters}
    logs_in = manifest.settings.auth_sessions.enabled
    lists = logs_in and caller.has(Scope.AUTH_SESSIONS)
    views = await services.auth_sessions.list_all(services.settings.workspace, project) if lists else []
    data: dict[str, Any] = {
        "project": project,
        "apis": list(manifest.apis),
        "api": api,
        "docstring": described.docstring,
        "fields": None if schema is None else [asdict(each) for each in schema_fields(schema)],
        "samples": [each.name for each in samples],
        "errors": {} if error is None else errors_by_path(error),
        "message": None if error is None else error.message,
        "sinkTest": test,
        "run": tried and await _outcome(services, tried),
        "lastRuns": await _last_runs(services, project, api) if caller.has(Scope.RUNS_READ) else [],
    }
    return render_page(
        request,
        "playground.html",
        data,
        error=error,
        manifest=manifest,
        values={name: value for name, value in values.items() if name not in _SECRET_FIELDS},
        chosen=chosen and chosen.name,
        is_filled_in=is_filled_in,
        recorded=manifest.settings.auth_sessions.type == "MANUAL",
        auth_sessions=[(view.id, view.status.value) for view in views],
        is_open=manifest.settings.api_access.enabled,
        calls=calls,
        started=started,
    )


async def _outcome(services: Services, run: RunDetails) -> dict[str, Any]:
    """Return a Run as lists show it, with its result if it has one. Raises StoreError."""
    shown = run_summary(run.list_item).model_dump(mode="json", by_alias=True)
    if run.state.outcome is None:
        return shown
    returned = await returned_values(run.state.outcome, run.list_item.run_id, services.store)
    return shown | {name: json.loads(value.text) for name, value in returned.items()}


async def _last_runs(services: Services, project: str, api: str) -> list[dict[str, Any]]:
    """Return the last Runs of an API, as lists show them. Raises Unavailable."""
    of_api = RunFilter(types=frozenset({RunType.API}), apis=frozenset({api}))
    page = await services.run_queries.list_runs(services.settings.workspace, project, of_api, limit=_SHOWN_RUNS)
    return [run_summary(run).model_dump(mode="json", by_alias=True) for run in page.runs]


def _start_request(form: Mapping[str, str]) -> dict[str, Any]:
    """Return the body of the start that the form describes.

    Fields that were left empty are left out, so that their defaults apply.

    Raises:
        BadRequest: The text of a field is not JSON, or not a number. The error names all such fields.
    """
    reader = FormReader(form)
    body: dict[str, Any] = {"api": form["api"]}
    body["parameters"] = reader.json("parameters", "parameters") if form["parameters"].strip() else {}
    if (attempts := reader.number("maximumAttempts", "retry.maximumAttempts")) is not None:
        body["retry"] = {"maximumAttempts": attempts}
    reader.set_if_given(body, "requestTimeout", reader.number("requestTimeout", "requestTimeout"))
    reader.set_if_given(body, "queueTimeout", reader.number("queueTimeout", "queueTimeout"))
    reader.set_if_given(body, "proxy", reader.text("proxy"))
    trace = reader.text("saveTrace")
    reader.set_if_given(body, "saveTrace", {"true": True, "false": False}.get(trace or "", trace))
    reader.set_if_given(body, "authSession", _auth_session(reader))
    reader.set_if_given(body, "sink", read_sink(reader))
    reader.set_if_given(body, "version", reader.text("version"))
    reader.set_if_given(body, "tags", (reader.text("tags") or "").replace(",", " ").split() or None)
    reader.raise_if_invalid()
    return body


def _auth_session(reader: FormReader) -> dict[str, Any] | None:
    choice = reader.text("auth")
    if choice is None:
        return None
    auth: dict[str, Any] = {}
    if choice == "runtime":
        auth["runtimeInput"] = reader.json("runtimeInput", "authSession.runtimeInput")
    else:
        reader.set_if_given(auth, "id", reader.text("authSessionId"))
        reader.set_if_given(auth, "lease", reader.text("lease"))
    if reader.text("autoRecreate") == "false":
        auth["autoRecreate"] = False
    for name in ("checkAttempts", "createAttempts"):
        reader.set_if_given(auth, name, reader.number(name, f"authSession.{name}"))
    return auth


def _code_samples(services: Services, origin: str, project: str, body: dict[str, Any]) -> dict[str, str]:
    """Return the start with this body as code, by language.

    The code reads the API key from the environment. Secrets are masked: whoever runs the code has to fill them in.
    """
    shown = _without_secrets(body)
    workspace = services.settings.workspace
    body_text = json.dumps(shown, indent=2, ensure_ascii=False)
    # The lines of the literal are aligned with its first character, behind "body=".
    body_literal = textwrap.indent(pprint.pformat(shown, width=100, sort_dicts=False), " " * 9).lstrip()
    url = f"{origin}/api/v1/workspace/{workspace}/projects/{project}/run/start"
    curl = (
        f"curl -X POST {shlex.quote(url)} \\\n"
        '  -H "x-api-key: $CALLBOARD_API_KEY" -H "content-type: application/json" \\\n'
        f"  -d {shlex.quote(body_text)}"
    )
    python = (
        "import os\n\nfrom intuned_client import IntunedClient\n\n"
        "client = IntunedClient(\n"
        '    api_key=os.environ["CALLBOARD_API_KEY"],\n'
        f"    workspace_id={json.dumps(workspace)},\n"
        f"    base_url={json.dumps(f'{origin}/api/v1/workspace')},\n"
        ")\n"
        f"run = client.projects.runs.start(\n    project_name={json.dumps(project)},\n"
        f"    body={body_literal},\n)\nprint(run.run_id)"
    )
    command = (
        f"callboard runs start --project {shlex.quote(project)} --url {shlex.quote(origin)} --wait \\\n"
        f"  {shlex.quote(body_text)}"
    )
    return {"curl": curl, "Python": python, "Command line": command}


def _without_secrets(body: dict[str, Any]) -> dict[str, Any]:
    shown = dict(body)
    for field, names in (("sink", _SECRET_FIELDS), ("authSession", ("runtimeInput",))):
        if field in shown:
            shown[field] = {name: MASK if name in names else value for name, value in shown[field].items()}
    if "headers" in shown.get("sink", {}) and isinstance(shown["sink"]["headers"], dict):
        shown["sink"]["headers"] = dict.fromkeys(shown["sink"]["headers"], MASK)
    return shown
