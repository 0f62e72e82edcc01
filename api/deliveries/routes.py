"""The calls about Deliveries, which are Callboard's own: what has become of a result, and sending it again."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Security

from api.deliveries.records import deliveries_of, delivery_body
from api.dependencies import ServicesDep
from api.guards import in_workspace, key_header
from api.http.errors import documented
from schemas.errors import InternalServerError, NotFound, TooMany, Unauthorized, Unavailable
from schemas.rest.delivery import DeliveriesResponse, Delivery

router = APIRouter(
    prefix="/api/v1/workspace/{workspaceId}/projects/{projectName}/runs/{runId}/deliveries",
    dependencies=[Depends(in_workspace), Security(key_header)],
    responses=documented(Unauthorized, NotFound, TooMany, InternalServerError, Unavailable),
    tags=["Deliveries"],
)


@router.get("", summary="What has become of a Run's result", response_model_exclude_none=True)
async def list_all(parts: ServicesDep, projectName: str, runId: str) -> DeliveriesResponse:  # noqa: N803
    """Return the Delivery to the Run's sink, with every try. There is none before the Run's end, or without a sink."""
    await parts.runs.state(parts.settings.workspace, projectName, runId)
    return DeliveriesResponse(deliveries=await deliveries_of(parts, projectName, runId))


@router.post(
    "/{deliveryId}/redeliver", status_code=202, summary="Send a result again", response_model_exclude_none=True
)
async def redeliver(parts: ServicesDep, projectName: str, runId: str, deliveryId: str) -> Delivery:  # noqa: N803
    """Send the same bytes once more: after success, after it was given up, or now instead of at the next try."""
    await parts.runs.state(parts.settings.workspace, projectName, runId)
    state = await parts.deliveries.redeliver(parts.settings.workspace, projectName, runId, deliveryId)
    return await delivery_body(parts, projectName, runId, state)
