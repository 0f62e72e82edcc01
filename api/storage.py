"""What the artifact store holds of each project (docs/contract.md, section 21). The page of the fleet shows it."""

from __future__ import annotations

from api.dependencies import ServicesDep
from api.http.access import requires
from api.workspace_router import workspace_router
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.storage import StorageBody, StoredProject, StoredSize

router = workspace_router("/storage", tag="Fleet", below="")


@router.get(
    "", dependencies=[requires(Scope.ADMIN)], operation_id="getStorage", summary="Get what the artifact store holds"
)
async def get(services: ServicesDep) -> StorageBody:
    """Tell how many objects and bytes of each kind the last sweep has counted, by project."""
    report = await services.sweeps.last()
    if report is None:
        return StorageBody(counted_at=None, projects=[])
    projects = [
        StoredProject(
            project=project,
            objects=sum(objects for objects, _ in kinds.values()),
            bytes=sum(size for _, size in kinds.values()),
            kinds={kind: StoredSize(objects=objects, bytes=size) for kind, (objects, size) in kinds.items()},
        )
        for project, kinds in report.totals.stored.items()
    ]
    return StorageBody(counted_at=report.ended_at, projects=sorted(projects, key=lambda each: -each.bytes))
