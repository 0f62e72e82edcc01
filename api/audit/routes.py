"""The call that lists the audit, which is Callboard's own (docs/contract.md, section 20)."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from api.audit.lists import list_entries
from api.dependencies import ServicesDep
from api.http.access import requires
from api.http.workspace_router import workspace_router
from schemas.errors import BadRequest, Forbidden
from schemas.rest.access import Scope
from schemas.rest.audit import AuditList, AuditQuery

router = workspace_router("/audit", BadRequest, Forbidden, tag="Audit", below="")


@router.get("", dependencies=[requires(Scope.ADMIN)], operation_id="listAudit", summary="List the audit")
async def list_all(services: ServicesDep, query: Annotated[AuditQuery, Query()]) -> AuditList:
    """List who has changed what, and who was refused, newest first. The key must be for all projects.

    A page may have fewer entries than `limit` although another page follows.
    """
    return await list_entries(services, query)
