"""Handoffs: the calls (docs/contract.md, section 22), and the page of those that wait for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Query, Request
from starlette.responses import Response

from api.dashboard.auth import FormDep
from api.dashboard.page_route import page_router
from api.dashboard.rendering import redirect, render_page
from api.dependencies import Services, ServicesDep
from api.handoffs import answers, links
from api.http.access import CallerDep, requires
from api.http.errors import error_responses
from api.http.json_body import read_json_object
from api.http.openapi import request_body
from api.lookup import ProjectDep, require_run
from api.workspace_router import workspace_router
from callboard.projects.manifest import Manifest
from callboard.schemas.errors import BadRequest, Conflict, PayloadTooLarge
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.handoffs import (
    CompleteHandoff,
    DeclineHandoff,
    HandoffBody,
    HandoffLink,
    HandoffList,
    HandoffsQuery,
)
from callboard.schemas.rest.json_text import validate_body
from callboard.security.apikeys import Caller

_OF_RUN = workspace_router("/{projectName}/runs/{runId}/handoffs", tag="Handoffs")
_OF_PROJECT = workspace_router("/{projectName}/handoffs", tag="Handoffs")
_PAGES = page_router("/projects/{projectName}")
routers = (_OF_RUN, _OF_PROJECT, _PAGES, links.router)

_READING = [requires(Scope.HANDOFFS)]
_COMPLETING = [requires(Scope.HANDOFFS, "handoff.complete")]
_LINKING = [requires(Scope.HANDOFFS, "handoff.link")]
_DECLINING = [requires(Scope.HANDOFFS, "handoff.decline")]

_CHECKS = [Depends(require_run)]
"""What is checked before the body of an answer is read."""


@_OF_PROJECT.get(
    "",
    dependencies=_READING,
    operation_id="listHandoffs",
    summary="List a project's open Handoffs",
    responses=error_responses(BadRequest),
)
async def list_open(
    services: ServicesDep, manifest: ProjectDep, query: Annotated[HandoffsQuery, Query()]
) -> HandoffList:
    """List the Handoffs that wait for a person. One appears here within two seconds."""
    del query  # it has one value
    return await _list_open(services, manifest.project)


async def _list_open(services: Services, project: str) -> HandoffList:
    found = await services.handoffs.list_open(services.settings.workspace, project)
    return HandoffList(handoffs=[HandoffBody.of(each) for each in found])


@_OF_RUN.get("", dependencies=_READING, operation_id="listRunHandoffs", summary="List a Run's Handoffs")
async def list_of_run(services: ServicesDep, projectName: str, runId: str) -> HandoffList:
    """List the last Handoffs of a Run, and those of the check and the Create that it waits for."""
    found = await services.runs.list_handoffs(services.settings.workspace, projectName, runId)
    return HandoffList(handoffs=[HandoffBody.of(each) for each in found])


@_OF_RUN.post(
    "/{handoffId}/complete",
    dependencies=[*_COMPLETING, *_CHECKS],
    operation_id="completeHandoff",
    summary="Answer a Handoff",
    openapi_extra=request_body(CompleteHandoff),
    responses=error_responses(BadRequest, Conflict, PayloadTooLarge),
)
async def complete(
    request: Request, services: ServicesDep, projectName: str, runId: str, handoffId: str
) -> HandoffBody:
    """Give the Attempt that asks what it asks for. Only one answer is taken."""
    values = validate_body(CompleteHandoff, await read_json_object(request)).values
    return HandoffBody.of(await answers.complete(services, projectName, runId, handoffId, values))


@_OF_RUN.post(
    "/{handoffId}/decline",
    dependencies=[*_DECLINING, *_CHECKS],
    operation_id="declineHandoff",
    summary="Decline a Handoff",
    openapi_extra=request_body(DeclineHandoff),
    responses=error_responses(BadRequest, Conflict, PayloadTooLarge),
)
async def decline(request: Request, services: ServicesDep, projectName: str, runId: str, handoffId: str) -> HandoffBody:
    """Tell the Attempt that asks that nobody answers, and why."""
    reason = validate_body(DeclineHandoff, await read_json_object(request)).reason
    return HandoffBody.of(await answers.decline(services, projectName, runId, handoffId, reason))


@_OF_RUN.post(
    "/{handoffId}/link",
    dependencies=_LINKING,
    operation_id="linkHandoff",
    summary="Make a link to a Handoff",
    responses=error_responses(Conflict),
)
async def link(
    request: Request, services: ServicesDep, caller: CallerDep, projectName: str, runId: str, handoffId: str
) -> HandoffLink:
    """Make a link with which somebody answers the Handoff without a key, once."""
    return await links.make(request, services, caller, projectName, runId, handoffId)


@_PAGES.get("/handoffs", dependencies=_READING)
@_PAGES.get("/handoffs.json", dependencies=_READING)
async def page(request: Request, services: ServicesDep, manifest: ProjectDep) -> Response:
    """Show the open Handoffs of a project, each with its form."""
    return await _render(request, services, manifest)


async def _render(
    request: Request, services: Services, manifest: Manifest, error: BadRequest | Conflict | None = None
) -> Response:
    data = (await _list_open(services, manifest.project)).model_dump(mode="json", by_alias=True)
    return render_page(request, "handoffs.html", data, manifest=manifest, error=error)


@_PAGES.post("/runs/{runId}/handoffs/{handoffId}/complete", dependencies=_COMPLETING)
async def complete_by_form(
    request: Request, services: ServicesDep, caller: CallerDep, form: FormDep, manifest: ProjectDep, handoffId: str
) -> Response:
    """Answer a Handoff by the form of a page."""
    run_id = request.path_params["runId"]
    try:
        await answers.complete_by_form(services, manifest.project, run_id, handoffId, form)
    except (BadRequest, Conflict) as error:
        return await _render(request, services, manifest, error)
    return _done(manifest, caller, form, run_id, "complete")


@_PAGES.post("/runs/{runId}/handoffs/{handoffId}/decline", dependencies=_DECLINING)
async def decline_by_form(
    request: Request, services: ServicesDep, caller: CallerDep, form: FormDep, manifest: ProjectDep, handoffId: str
) -> Response:
    """Decline a Handoff by the form of a page."""
    run_id = request.path_params["runId"]
    try:
        await answers.decline_by_form(services, manifest.project, run_id, handoffId, form)
    except (BadRequest, Conflict) as error:
        return await _render(request, services, manifest, error)
    return _done(manifest, caller, form, run_id, "decline")


def _done(manifest: Manifest, caller: Caller, form: Mapping[str, str], run_id: str, done: str) -> Response:
    project = f"/projects/{quote(manifest.project, safe='')}"
    if form.get("back") == "record":
        return redirect(f"{project}/auth-sessions/record/{quote(run_id, safe='')}")
    if caller.has(Scope.RUNS_READ):
        return redirect(f"{project}/runs/{quote(run_id, safe='')}")
    return redirect(f"{project}/handoffs", done=done)
