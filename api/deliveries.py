"""Deliveries of results to sinks: the calls, which are Callboard's own, and the form that redelivers."""

from __future__ import annotations

import asyncio

from fastapi import Depends, Request
from starlette.responses import Response

from api.dashboard.auth import FormDep
from api.dashboard.page_route import page_router
from api.dashboard.rendering import redirect, render_page
from api.dependencies import Services, ServicesDep
from api.http.access import CallerDep, requires
from api.lookup import ProjectDep, require_project, require_run
from api.workspace_router import workspace_router
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.delivery import (
    DeliveryBody,
    DeliveryError,
    DeliveryList,
    ProjectDelivery,
    ProjectDeliveryList,
    TryBody,
)
from callboard.schemas.workflow import names
from callboard.schemas.workflow.delivery import TryProblem, TryRecord
from callboard.storage import object_keys
from callboard.temporal.deliveries import DeliveryState

_CONCURRENT_READS = 16
"""Number of records that are read concurrently: there may be hundreds."""

_REST = workspace_router("/{projectName}/runs/{runId}/deliveries", tag="Deliveries")
_OF_PROJECT = workspace_router("/{projectName}/deliveries", tag="Deliveries")
_PAGES = page_router("/projects/{projectName}/deliveries")
_PAGE = page_router("/projects/{projectName}/runs/{runId}/deliveries")
routers = (_REST, _OF_PROJECT, _PAGES, _PAGE)

_REDELIVERING = requires(Scope.RUNS_START, "delivery.redeliver")


@_REST.get(
    "",
    dependencies=[requires(Scope.RUNS_READ), Depends(require_run)],
    operation_id="listDeliveries",
    summary="List a Run's Deliveries",
    response_model_exclude_none=True,
)
async def list_all(services: ServicesDep, projectName: str, runId: str) -> DeliveryList:
    """List the Delivery to the Run's sink, with every try: there is none before the Run's end, or without a sink.

    Those that tell the project's webhook of the Run's last Handoffs follow.
    """
    return DeliveryList(deliveries=await list_deliveries(services, projectName, runId))


@_OF_PROJECT.get(
    "",
    dependencies=[requires(Scope.RUNS_READ)],
    operation_id="listProjectDeliveries",
    summary="List a project's Deliveries",
)
async def list_of_project(services: ServicesDep, manifest: ProjectDep) -> ProjectDeliveryList:
    """List the last fifty each that are on their way, have failed and have arrived: failing ones first."""
    listed = await services.deliveries.list_for_project(services.settings.workspace, manifest.project)
    return ProjectDeliveryList(
        deliveries=[
            ProjectDelivery(
                id=each.state.id,
                run_id=None if each.run_id == names.ALERTS_OWNER else each.run_id,
                job_id=each.job_id,
                sink=each.state.sink,
                status=each.state.status,
                error=_error_body(each.state.error),
                created_at=each.created_at,
                ended_at=each.ended_at,
                try_count=each.tries,
                next_try_at=each.next_try_at,
            )
            for each in listed
        ]
    )


@_PAGES.get("", dependencies=[requires(Scope.RUNS_READ)])
@_PAGES.get(".json", dependencies=[requires(Scope.RUNS_READ)])
async def page_of_project(request: Request, services: ServicesDep, manifest: ProjectDep) -> Response:
    """Show the Deliveries of a project."""
    data = (await list_of_project(services, manifest)).model_dump(mode="json", by_alias=True)
    return render_page(request, "deliveries.html", data, manifest=manifest)


@_REST.post(
    "/{deliveryId}/redeliver",
    dependencies=[_REDELIVERING, Depends(require_project)],
    status_code=202,
    operation_id="redeliver",
    summary="Redeliver a Delivery",
    response_model_exclude_none=True,
)
async def redeliver(
    services: ServicesDep, caller: CallerDep, projectName: str, runId: str, deliveryId: str
) -> DeliveryBody:
    """Send the Delivery once more: after a success, after a failure, or now instead of at the next try.

    In place of a Run's id stands that of a JobRun, or `alerts`, for a Delivery that tells of a JobRun or of an alert.
    Without the scope `runs:read`, the answer has no tries and no error.
    """
    state = await services.deliveries.redeliver(services.settings.workspace, projectName, runId, deliveryId)
    body = await delivery_body(services, projectName, runId, state)
    return body if caller.has(Scope.RUNS_READ) else body.model_copy(update={"tries": [], "error": None})


@_PAGE.post("/{deliveryId}/redeliver", dependencies=[_REDELIVERING])
async def redeliver_by_form(
    services: ServicesDep, _: FormDep, manifest: ProjectDep, runId: str, deliveryId: str
) -> Response:
    """Send the same body to the sink once more, and show the Run, or the Deliveries if it tells of no Run."""
    await services.deliveries.redeliver(services.settings.workspace, manifest.project, runId, deliveryId)
    of_run = runId != names.ALERTS_OWNER and not names.is_job_run_id(runId)
    return redirect(f"/projects/{manifest.project}/{f'runs/{runId}' if of_run else 'deliveries'}")


async def list_deliveries(services: Services, project: str, run_id: str) -> list[DeliveryBody]:
    """Return the Deliveries of a Run, which must exist.

    Raises:
        StoreError, Unavailable: The artifact store, or Temporal, does not answer.
    """
    states = await services.deliveries.list_for_run(services.settings.workspace, project, run_id)
    return [await delivery_body(services, project, run_id, state) for state in states]


async def delivery_body(services: Services, project: str, run_id: str, state: DeliveryState) -> DeliveryBody:
    """Return a Delivery with its tries. Raises StoreError."""
    records = [key async for key in services.store.list(object_keys.delivery_tries(project, run_id, state.id))]
    limit = asyncio.Semaphore(_CONCURRENT_READS)

    async def read(key: str) -> TryBody | None:
        async with limit:
            record = await services.store.get(key)
        return None if record is None else try_body(TryRecord.model_validate_json(record))

    tries = await asyncio.gather(*(read(key) for key in records))  # the keys are in chronological order
    return DeliveryBody(
        id=state.id,
        sink=state.sink,
        status=state.status,
        error=_error_body(state.error),
        tries=[each for each in tries if each is not None],
    )


def try_body(record: TryRecord) -> TryBody:
    """Return one try of a Delivery, from its record."""
    return TryBody(
        at=record.at,
        status_code=record.status_code,
        error=_error_body(record.error),
        latency=None if record.latency is None else round(record.latency.total_seconds(), 6),
        answer=record.answer,
    )


def _error_body(error: TryProblem | None) -> DeliveryError | None:
    return None if error is None else DeliveryError(type=error.type, message=error.message)
