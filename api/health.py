"""Health checks: whether the service is alive, and whether it is ready (docs/contract.md, section 13.6).

Both answer without a key, so that a load balancer needs none. Only a caller who sends a key gets details.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Annotated

from fastapi import APIRouter, Request, Security
from starlette.responses import JSONResponse

from api.dependencies import Services, ServicesDep
from api.http.workspace_router import key_header
from schemas.errors import CallboardError, TooMany, Unauthorized, Unavailable
from schemas.rest.health import ComponentStatus, Liveness, Readiness

_CHECK_TIMEOUT = 5
"""Seconds within which each of the checked parts must answer."""

log = logging.getLogger(__name__)
router = APIRouter(tags=["Health"])


@router.get("/healthz", summary="Check liveness")
async def healthz() -> Liveness:
    """Answer as long as the process is alive."""
    return Liveness()


@router.get(
    "/readyz",
    summary="Check readiness",
    response_model=Readiness,
    response_model_exclude_none=True,
    responses={503: {"model": Readiness, "description": "Something that Runs need is missing."}},
)
async def readyz(
    request: Request, services: ServicesDep, key: Annotated[str | None, Security(key_header)]
) -> JSONResponse:
    """Check Temporal, the artifact store, and the Machines that workers offer for each project.

    Without a valid key, the answer holds only the statuses. With one, it also holds the messages, and the status of
    each project.
    """
    temporal, store, projects, isolation = await asyncio.gather(
        _run_check(services.temporal_health.check()),
        _run_check(services.store.check()),
        _project_states(services),
        _isolation_state(services),
    )
    states = [temporal, store, *projects.values()]
    ready = all(state.status != "failed" for state in states)
    body = Readiness(
        status="ready" if ready else "not-ready", temporal=temporal, store=store, projects=projects, isolation=isolation
    )
    if key is None or not _is_accepted(services, key, request):
        body = body.without_details()
    return JSONResponse(body.model_dump(exclude_none=True), 200 if ready else 503)


def _is_accepted(services: Services, key: str, request: Request) -> bool:
    """Tell whether a key is valid. A wrong one counts against its sender, or keys could be guessed here."""
    try:
        services.keys.check(key.encode("latin-1"), request.scope)  # latin-1 gives back the bytes as they were received
    except (Unauthorized, TooMany):
        return False
    return True


async def _project_states(services: Services) -> dict[str, ComponentStatus]:
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT):
            names = await services.catalog.list_projects()
            offered = await services.temporal_health.count_offered_machines()
    except (CallboardError, TimeoutError):
        return {}  # the store or Temporal is not reachable, and its own state says so
    states = await asyncio.gather(*(_project_state(services, name, offered) for name in names))
    return dict(zip(names, states, strict=True))


async def _project_state(services: Services, project: str, offered: dict[str, int] | None) -> ComponentStatus:
    """Return the state of a project.

    The state says whether workers serve the project and, if Temporal can tell, whether the workers' shares fit its
    number of Machines.
    """
    if services.settings.ready_needs_workers:
        return await _run_check(_check_has_worker(services, project))
    manifest = await services.catalog.get_current(project)
    if offered is None or manifest is None:
        return ComponentStatus(status="ok")
    configured, offered_machines = manifest.settings.machines, offered.get(project, 0)
    if offered_machines == 0:
        return ComponentStatus(status="warning", message="No worker offers a Machine for this project: its Runs wait.")
    if offered_machines > configured:
        message = (
            f"The workers offer {offered_machines} Machines in all, and the project's settings say {configured} "
            "(replication.maxConcurrentRequests). Workers of an earlier version take no lease: upgrade all of them. "
            "For a while, the same is seen after a worker was killed, after a deploy, and while Machines move."
        )
        return ComponentStatus(status="warning", message=message)
    return ComponentStatus(status="ok")


async def _isolation_state(services: Services) -> ComponentStatus | None:
    """Return whether all Machines are isolated fully; None if that is not known."""
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT):
            levels = await services.temporal_health.read_isolation()
    except (CallboardError, TimeoutError):
        return None  # Temporal is not reachable, and its own state says so
    if partial := sorted(project for project, level in levels.items() if level != "full"):
        message = (
            f"Machines are isolated only partially, for the projects {', '.join(partial)}. "
            "`callboard doctor` on the worker's host says what is missing."
        )
        return ComponentStatus(status="warning", message=message)
    return ComponentStatus(status="ok") if levels else None


async def _check_has_worker(services: Services, project: str) -> None:
    if not await services.temporal_health.has_pollers(project):
        raise Unavailable("No worker serves this project yet.")


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
