"""The calls about Deliveries, which are Callboard's own: list them, and redeliver."""

from __future__ import annotations

from fastapi import Depends

from api.deliveries.bodies import delivery_body, list_deliveries
from api.dependencies import ServicesDep
from api.http.access import CallerDep, requires
from api.http.workspace_router import workspace_router
from api.projects.lookup import require_project, require_run
from schemas.rest.access import Scope
from schemas.rest.delivery import DeliveryBody, DeliveryList

router = workspace_router("/{projectName}/runs/{runId}/deliveries", tag="Deliveries")


@router.get(
    "",
    dependencies=[requires(Scope.RUNS_READ), Depends(require_run)],
    operation_id="listDeliveries",
    summary="List a Run's Deliveries",
    response_model_exclude_none=True,
)
async def list_all(services: ServicesDep, projectName: str, runId: str) -> DeliveryList:
    """List the Delivery to the Run's sink, with every try. There is none before the Run's end, or without a sink."""
    return DeliveryList(deliveries=await list_deliveries(services, projectName, runId))


@router.post(
    "/{deliveryId}/redeliver",
    dependencies=[requires(Scope.RUNS_START, "delivery.redeliver"), Depends(require_project), Depends(require_run)],
    status_code=202,
    operation_id="redeliver",
    summary="Redeliver a result",
    response_model_exclude_none=True,
)
async def redeliver(
    services: ServicesDep, caller: CallerDep, projectName: str, runId: str, deliveryId: str
) -> DeliveryBody:
    """Send the same body once more: after a success, after a failure, or now instead of at the next try.

    Without the scope `runs:read`, the answer has no tries and no error.
    """
    state = await services.deliveries.redeliver(services.settings.workspace, projectName, runId, deliveryId)
    body = await delivery_body(services, projectName, runId, state)
    return body if caller.has(Scope.RUNS_READ) else body.model_copy(update={"tries": [], "error": None})
