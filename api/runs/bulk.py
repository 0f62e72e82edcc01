"""Many Runs at once: canceled or started again by one request (docs/contract.md, section 13.8), and its page.

Which Runs these are is decided here, before anything starts. So nothing that begins later is among them, and `matched`
is the number of those that will be handled.
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from fastapi import Request
from starlette.responses import JSONResponse, Response

from api.dashboard.auth import FormDep
from api.dashboard.page_route import page_router
from api.dashboard.rendering import redirect, render_page
from api.dependencies import Services, ServicesDep
from api.http.access import CallerDep, audit_note, requires
from api.http.audit import bulk_requester
from api.http.errors import error_responses
from api.http.json_body import read_json_object
from api.http.openapi import request_body
from api.lookup import OpenProjectDep, ProjectDep
from api.runs.filters import read_filters
from api.runs.idempotency import IDEMPOTENCY_DOCS, read_idempotency_key
from api.workspace_router import workspace_router
from callboard.schemas.errors import BadRequest, Conflict, Forbidden, NotFound, PayloadTooLarge
from callboard.schemas.rest.access import KeyRef, Scope
from callboard.schemas.rest.bulk import MOST_RUNS, BulkBody, BulkCount, BulkFailed, BulkRef, BulkRequest, BulkStarted
from callboard.schemas.rest.field_errors import field_error
from callboard.schemas.rest.json_text import validate_body
from callboard.schemas.rest.runs import RunsFilter
from callboard.schemas.workflow.bulk import BulkAction, BulkInput, BulkView
from callboard.schemas.workflow.run import RunStatus, RunType
from callboard.starts.identity import RunIdentity, derive_identities, new_run_id, run_id_from
from callboard.telemetry.log_context import add_log_fields
from callboard.temporal.bulks import Bulk
from callboard.temporal.listing import RunFilter

_BULK = workspace_router("/{projectName}/runs/bulk", tag="Many Runs")
_PAGES = page_router("/projects/{projectName}/runs/bulk")
routers = (_BULK, _PAGES)

# How many Runs match a filter is something to read.
_CANCELING = [requires(Scope.RUNS_CANCEL, "bulk.cancel", also=Scope.RUNS_READ)]
_RERUNNING = [requires(Scope.RUNS_START, "bulk.rerun", also=Scope.RUNS_READ)]
_ABORTING = [requires(Scope.RUNS_CANCEL, "bulk.abort")]
_READING = [requires(Scope.RUNS_READ)]

_OPEN = frozenset({RunStatus.PENDING, RunStatus.STARTED})
_ANSWERS: dict[int | str, dict[str, Any]] = {200: {"model": BulkCount, "description": "With `dryRun`"}}


@_BULK.post(
    "/cancel",
    dependencies=_CANCELING,
    status_code=202,
    operation_id="cancelRuns",
    summary="Cancel many Runs",
    openapi_extra={**request_body(BulkRequest), **IDEMPOTENCY_DOCS},
    response_model=BulkStarted,
    responses={**_ANSWERS, **error_responses(BadRequest, Conflict, PayloadTooLarge)},
)
async def cancel(request: Request, services: ServicesDep, manifest: ProjectDep) -> Response:
    """Cancel all Runs that are pending or started and match the filter, one after the other."""
    return await _answer(request, services, manifest.project, BulkAction.CANCEL)


@_BULK.post(
    "/rerun",
    dependencies=_RERUNNING,
    status_code=202,
    operation_id="rerunRuns",
    summary="Start many Runs again",
    openapi_extra={**request_body(BulkRequest), **IDEMPOTENCY_DOCS},
    response_model=BulkStarted,
    responses={**_ANSWERS, **error_responses(BadRequest, Forbidden, Conflict, PayloadTooLarge)},
)
async def rerun(request: Request, services: ServicesDep, manifest: OpenProjectDep) -> Response:
    """Start all Runs of APIs again that match the filter, one after the other, each once."""
    return await _answer(request, services, manifest.project, BulkAction.RERUN)


@_PAGES.get("/{bulkId}.json", dependencies=_READING)
@_BULK.get(
    "/{bulkId}",
    dependencies=_READING,
    operation_id="getBulk",
    summary="Get how far a request about many Runs has come",
)
async def get(services: ServicesDep, projectName: str, bulkId: str) -> BulkBody:
    """Get its counts, and the first of the Runs that could not be canceled or started again."""
    return _body(await services.bulks.get(services.settings.workspace, projectName, bulkId))


@_BULK.post(
    "/{bulkId}/abort",
    dependencies=_ABORTING,
    status_code=202,
    operation_id="abortBulk",
    summary="Abort a request about many Runs",
)
async def abort(services: ServicesDep, caller: CallerDep, projectName: str, bulkId: str) -> BulkRef:
    """Have it end with the Run at hand. What it has done stays; one that has ended stays as it is."""
    await services.bulks.abort(services.settings.workspace, projectName, bulkId, by=caller.actor)
    return BulkRef(id=bulkId)


@_PAGES.post("/cancel", dependencies=_CANCELING)
async def cancel_by_form(request: Request, services: ServicesDep, form: FormDep, manifest: ProjectDep) -> Response:
    """Cancel the selected Runs, or all that match the filter, and show how far that has come."""
    return await _start_by_form(request, services, manifest.project, BulkAction.CANCEL, form)


@_PAGES.post("/rerun", dependencies=_RERUNNING)
async def rerun_by_form(request: Request, services: ServicesDep, form: FormDep, manifest: OpenProjectDep) -> Response:
    """Start the selected Runs again, or all that match the filter, and show how far that has come."""
    return await _start_by_form(request, services, manifest.project, BulkAction.RERUN, form)


@_PAGES.get("/{bulkId}", dependencies=_READING)
async def page(request: Request, services: ServicesDep, manifest: ProjectDep, bulkId: str) -> Response:
    """Show how far it has come."""
    data = (await get(services, manifest.project, bulkId)).model_dump(mode="json", by_alias=True)
    return render_page(request, "bulk.html", data, manifest=manifest)


@_PAGES.post("/{bulkId}/abort", dependencies=_ABORTING)
async def abort_by_form(
    services: ServicesDep, caller: CallerDep, _: FormDep, projectName: str, bulkId: str
) -> Response:
    """Have it end with the Run at hand; its page then shows when it has."""
    await abort(services, caller, projectName, bulkId)
    return redirect(_address(projectName, bulkId))


async def _answer(request: Request, services: Services, project: str, action: BulkAction) -> Response:
    key = read_idempotency_key(request)
    asked = validate_body(BulkRequest, await read_json_object(request))
    identity = RunIdentity(new_run_id())
    if key is not None and not asked.dry_run:
        # What was accepted before is answered alike, also if its Runs could not be found any more.
        identity, known = await _find(services, project, f"{action} {_canonical(asked.filter)}", key)
        if known is not None:
            add_log_fields(bulkId=identity.run_id, project=project)
            return _accepted(identity, known)
    run_ids = await _select(services, project, action, asked.filter)
    if asked.dry_run:
        audit_note(request.scope).action = None  # nothing is changed
        return JSONResponse(BulkCount(matched=len(run_ids)).model_dump(by_alias=True))
    return _accepted(identity, await _start(request, services, project, action, run_ids, identity))


def _accepted(identity: RunIdentity, view: BulkView) -> Response:
    return JSONResponse(BulkStarted(id=identity.run_id, matched=view.matched).model_dump(by_alias=True), 202)


async def _start_by_form(
    request: Request, services: Services, project: str, action: BulkAction, form: FormDep
) -> Response:
    filters = read_filters(form) if form.get("all") else {"runId": form.getlist("run")}
    given = {name: value for name, value in filters.items() if value}
    if not given:
        raise BadRequest("Select the Runs, or filter the list first.")
    run_ids = await _select(services, project, action, validate_body(RunsFilter, given))
    # A form that is sent twice, as by a double click, is one request; with other Runs selected, it is another one.
    meant = json.dumps([form.get("request") or new_run_id(), action, given], sort_keys=True)
    digest = urlsafe_b64encode(hashlib.sha256(meant.encode()).digest()).decode("ascii")
    bulk_id = run_id_from(digest)
    await _start(request, services, project, action, run_ids, RunIdentity(bulk_id))
    return redirect(_address(project, bulk_id))


async def _select(services: Services, project: str, action: BulkAction, wanted: RunsFilter) -> list[str]:
    """Return the ids of the Runs that are meant, in the order of lists.

    Raises:
        BadRequest: The filter is empty, no Run could match it, or too many do.
        Unavailable: Temporal does not answer.
    """
    if wanted == RunsFilter():
        expected = "an object with at least one field"
        raise field_error("filter", expected, "filter: expected at least one field, as all Runs of the project match.")
    found = dict[str, str | None]()
    matching = services.run_queries.list_all(services.settings.workspace, project, _narrow(action, wanted))
    async with aclosing(matching):
        async for run in matching:
            if wanted.run_id or run.parent_run_id is None:
                found[run.run_id] = run.parent_run_id
            if len(found) > MOST_RUNS:
                raise BadRequest(
                    f"filter: more than {MOST_RUNS} Runs match. Ask for fewer at a time, such as by startedAfter and "
                    "startedBefore."
                )
    # The Validate that a Run waits for ends with that Run, and is made again with it.
    return [run_id for run_id, parent in found.items() if parent not in found]


def _narrow(action: BulkAction, wanted: RunsFilter) -> RunFilter:
    """Return the filter without Runs with which this cannot be done at all. Raises BadRequest if none is left.

    Runs that are named one by one stay, so that whoever has chosen them hears why it cannot be done.
    """
    run_filter = RunFilter.of(wanted)
    if run_filter.run_ids:
        return run_filter
    if action is BulkAction.CANCEL:
        statuses = run_filter.statuses & _OPEN if run_filter.statuses else _OPEN
        if not statuses:
            raise field_error("filter.status", "pending or started, as other Runs have ended")
        return replace(run_filter, statuses=statuses)
    if run_filter.types and RunType.API not in run_filter.types:
        raise field_error("filter.type", "api, as only Runs of APIs can be started again")
    return replace(run_filter, types=frozenset({RunType.API}))


def _canonical(wanted: RunsFilter) -> str:
    """Return a text that is the same for all filters that mean the same."""

    def canonical(value: object) -> object:
        if isinstance(value, datetime):
            return value.astimezone(UTC).isoformat()
        return sorted({str(each) for each in cast("list[object]", value)}) if isinstance(value, list) else value

    return json.dumps({name: canonical(value) for name, value in wanted.model_dump().items()}, sort_keys=True)


async def _find(
    services: Services, project: str, request: str, idempotency_key: str
) -> tuple[RunIdentity, BulkView | None]:
    """Return the identity that an Idempotency-Key and this request stand for, and the bulk, if there is one.

    Raises:
        Conflict: The key was used with another request.
        ConfigurationError: There is no secret key to derive an id with.
        Unavailable: Temporal does not answer.
    """
    # No key has a space, so none of a Run is the same.
    key, workspace = f"bulk {idempotency_key}", services.settings.workspace
    newest, *older = derive_identities(services.ring, workspace, project, key, request.encode())
    for identity in (newest, *older):
        with suppress(NotFound):
            known = await services.bulks.get_same(workspace, project, identity.run_id, identity.fingerprint)
            return identity, known
    return newest, None


async def _start(
    request: Request,
    services: Services,
    project: str,
    action: BulkAction,
    run_ids: list[str],
    identity: RunIdentity,
) -> BulkView:
    """Start it, or find it. Raises Conflict, ConfigurationError or Unavailable."""
    requester, bulk_id = bulk_requester(request.scope), identity.run_id
    view = BulkView(action=action, matched=len(run_ids), created_at=datetime.now(UTC), requested_by=requester.key)
    add_log_fields(bulkId=bulk_id, project=project)
    return await services.bulks.start(
        BulkInput(
            workspace=services.settings.workspace,
            project=project,
            bulk_id=bulk_id,
            requester=requester,
            fingerprint=identity.fingerprint,
            run_ids=tuple(run_ids),
            view=view,
        )
    )


def _body(bulk: Bulk) -> BulkBody:
    view = bulk.view
    return BulkBody(
        id=bulk.id,
        action=view.action,
        status=bulk.status,
        matched=view.matched,
        done=view.done,
        failed_count=view.failed,
        failed=[BulkFailed(run_id=each.run_id, message=each.message) for each in bulk.failures],
        created_at=view.created_at,
        ended_at=bulk.ended_at,
        requested_by=KeyRef(id=view.requested_by.id, name=view.requested_by.name),
    )


def _address(project: str, bulk_id: str) -> str:
    return f"/projects/{project}/runs/bulk/{bulk_id}"
