"""Whether the service is alive, and whether it is of use (DESIGN section 5). No key is asked for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from fastapi import APIRouter
from starlette.responses import JSONResponse

from api.parts import Parts, PartsDep
from contract.errors import CallboardError, Unavailable
from contract.rest.health import Alive, PartState, Readiness

_PATIENCE = 5
"""Seconds for each part."""

log = logging.getLogger(__name__)
router = APIRouter(tags=["Health"])


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> Alive:
    """Answers whenever the process can."""
    return Alive()


@router.get(
    "/readyz",
    summary="Would a Run go through?",
    response_model=Readiness,
    response_model_exclude_none=True,
    responses={503: {"model": Readiness, "description": "Something that a Run needs is missing; it is named."}},
)
async def readyz(parts: PartsDep) -> JSONResponse:
    """Asks Temporal and the artifact store, and in the embedded stack each project's workers."""
    temporal, store, projects = await asyncio.gather(
        _state(parts.runs.check()), _state(parts.store.check()), _projects(parts)
    )
    states = [temporal, store, *(projects or {}).values()]
    ready = all(state.status == "ok" for state in states)
    body = Readiness(status="ready" if ready else "not-ready", temporal=temporal, store=store, projects=projects)
    return JSONResponse(body.model_dump(exclude_none=True), 200 if ready else 503)


async def _projects(parts: Parts) -> dict[str, PartState] | None:
    if not parts.settings.ready_needs_workers:
        return None
    try:
        async with asyncio.timeout(_PATIENCE):
            names = await parts.catalog.projects()
    except (CallboardError, TimeoutError):
        return {}  # the store is not reachable, which its own state says
    states = await asyncio.gather(*(_state(_served(parts, name)) for name in names))
    return dict(zip(names, states, strict=True))


async def _served(parts: Parts, project: str) -> None:
    if not await parts.runs.served(project):
        raise Unavailable("No worker serves this project yet.")


async def _state(check: Awaitable[None]) -> PartState:
    try:
        async with asyncio.timeout(_PATIENCE):
            await check
    except CallboardError as error:
        log.debug("Not ready: %s", error.message)
        return PartState(status="failed", message=error.message)
    except TimeoutError:
        return PartState(status="failed", message=f"It did not answer within {_PATIENCE} s.")
    return PartState(status="ok")
