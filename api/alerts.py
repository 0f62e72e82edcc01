"""Alerts: the call that lists those of a project (docs/contract.md, section 24). Its overview shows the same."""

from __future__ import annotations

from api.dependencies import ServicesDep
from api.http.access import requires
from api.lookup import ProjectDep
from api.workspace_router import workspace_router
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.alerts import AlertBody, AlertList

router = workspace_router("/{projectName}/alerts", tag="Projects")


@router.get("", dependencies=[requires(Scope.RUNS_READ)], operation_id="listAlerts", summary="List a project's alerts")
async def list_all(services: ServicesDep, manifest: ProjectDep) -> AlertList:
    """List the alerts that are open, and the last twenty others; none if the project has no rule."""
    rules = [each.rule for each in manifest.settings.alerts]
    if not rules:
        return AlertList(alerts=[])
    found = await services.alerts.list_all(services.settings.workspace, manifest.project)
    shown = [each for each in reversed(found) if not each.is_open or each.rule in rules]
    shown.sort(key=lambda alert: not alert.is_open)
    return AlertList(alerts=[AlertBody.of(each) for each in shown])
