"""Health checks: whether the service is alive, and whether it is ready (docs/contract.md, section 13.6).

Both answer without a key, so that a load balancer needs none. Details are about all projects, and about what lies
behind the api: only a caller with the scope `admin` for all projects gets them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from api.dependencies import Services, ServicesDep
from api.fleet import read_fleet
from api.http.key_check import read_key
from callboard.schemas.errors import CallboardError, TooMany, Unauthorized, Unavailable
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.fleet import FleetProject, MissingReason
from callboard.schemas.rest.health import ComponentStatus, LivenessAnswer, Readiness

_CHECK_TIMEOUT = 5
"""Seconds within which each of the checked parts must answer."""

log = logging.getLogger(__name__)
router = APIRouter(tags=["Health"])


@router.get(
    "/healthz",
    operation_id="getHealth",
    summary="Check liveness",
    response_model=LivenessAnswer,
    response_model_exclude_none=True,
    responses={503: {"model": LivenessAnswer, "description": "The process does not work any more."}},
)
async def healthz(request: Request, services: ServicesDep) -> JSONResponse:
    """Tell whether the process works. If not, end it and start another one.

    Temporal and the artifact store have no part in this: `readyz` tells whether they are there. Without a key of
    an administrator, the answer does not say what is wrong. A process whose event loop is stuck does not answer at all.
    """
    problem = services.liveness.problem()
    if problem is None:
        return JSONResponse(LivenessAnswer(status="alive").model_dump(exclude_none=True))
    log.error("healthz fails: %s", problem)
    message = problem if await _is_for_admin(services, request) else None
    return JSONResponse(LivenessAnswer(status="not-alive", message=message).model_dump(exclude_none=True), 503)


@router.get(
    "/readyz",
    operation_id="getReadiness",
    summary="Check readiness",
    response_model=Readiness,
    response_model_exclude_none=True,
    responses={503: {"model": Readiness, "description": "Something that Runs need is missing."}},
)
async def readyz(request: Request, services: ServicesDep) -> JSONResponse:
    """Check Temporal, the artifact store, and whether workers hold the Machines of each project.

    The answer holds only the statuses. With a key that has the scope `admin` for all projects, it also holds the
    messages, and the status of each project.
    """
    temporal, store, (projects, isolation) = await asyncio.gather(
        _run_check(services.temporal_health.check()), _run_check(services.store.check()), _machine_states(services)
    )
    states = [temporal, store, *projects.values()]
    ready = all(state.status != "failed" for state in states)
    body = Readiness(
        status="ready" if ready else "not-ready", temporal=temporal, store=store, projects=projects, isolation=isolation
    )
    if not await _is_for_admin(services, request):
        body = body.without_details()
    return JSONResponse(body.model_dump(exclude_none=True), 200 if ready else 503)


async def _is_for_admin(services: Services, request: Request) -> bool:
    """Tell whether the caller may see details. A wrong key counts against its sender, or one could guess here."""
    key = read_key(request.headers)
    if key is None:
        return False
    try:
        caller = await services.keys.check(key, request.scope)
    except (Unauthorized, TooMany, Unavailable):
        return False
    return caller.has(Scope.ADMIN) and caller.projects is None


async def _machine_states(services: Services) -> tuple[dict[str, ComponentStatus], ComponentStatus | None]:
    """Return whether workers hold the Machines of each project, and how far these are isolated, if that is known."""
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT):
            projects = await services.catalog.list_current()
            fleet = await read_fleet(services, projects)
    except (CallboardError, TimeoutError):
        return {}, None  # the store is not reachable, and its own state says so
    if fleet is None:
        unknown = _problem(services, "No worker has said who holds which Machines. Start `callboard worker`.")
        return {project.project: unknown for project in projects}, None
    states = {found.project: _project_state(services, found) for found in fleet.projects}
    return states, _isolation_state(fleet.projects)


def _project_state(services: Services, machines: FleetProject) -> ComponentStatus:
    """Return whether workers hold the project's Machines. It is well that a worker is about to get what is missing."""
    match machines.reason:
        case MissingReason.NO_WORKER | MissingReason.NOT_SERVED:
            return _problem(services, f"Machines are missing, {machines.message}. No Run of the project is executed.")
        case MissingReason.NO_ROOM | MissingReason.LIMIT:
            return ComponentStatus(status="warning", message=f"Machines are missing, {machines.message}.")
        case _ if services.settings.ready_needs_workers and not machines.held:
            return _problem(services, "No worker holds a Machine of this project yet.")
        case _:
            return ComponentStatus(status="ok")


def _problem(services: Services, message: str) -> ComponentStatus:
    """Return the state of a project without a running Run."""
    return ComponentStatus(status="failed" if services.settings.ready_needs_workers else "warning", message=message)


def _isolation_state(projects: Iterable[FleetProject]) -> ComponentStatus | None:
    """Return how far the Machines are isolated, well if all are fully; None if no worker holds any."""
    levels = {found.project: found.isolation for found in projects if found.isolation is not None}
    if lower := sorted(f"{project} ({level})" for project, level in levels.items() if level != "full"):
        message = (
            f"Machines of these projects are not isolated fully: {', '.join(lower)}. "
            "`callboard doctor` on the worker's host says what is missing."
        )
        return ComponentStatus(status="warning", message=message)
    return ComponentStatus(status="ok") if levels else None


async def _run_check(check: Awaitable[None]) -> ComponentStatus:
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT):
            await check
    except CallboardError as error:
        log.debug("Not ready: %s", error.message)
        return ComponentStatus(status="failed", message=error.message)
    except TimeoutError:
        return ComponentStatus(status="failed", message=f"It did not answer within {_CHECK_TIMEOUT} s.")
    return ComponentStatus(status="ok")
