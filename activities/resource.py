"""The activity that applies the files of a project."""

from __future__ import annotations

from temporalio import activity

from activities.heartbeat import heartbeats
from activities.resources.resource_applier import ResourceApplier
from schemas.workflow import names
from schemas.workflow.resources import AppliedResources, ApplyResourcesInput


class ResourceActivities:
    """The activity `update_resources`, on the common task queue."""

    def __init__(self, applier: ResourceApplier) -> None:
        self._applier = applier

    @activity.defn(name=names.UPDATE_RESOURCES)
    async def update_resources(self, input: ApplyResourcesInput) -> AppliedResources:
        """Make Jobs and AuthSessions agree with the files of the version that is deployed. Raises CallboardError."""
        async with heartbeats():
            return await self._applier.apply(input.project)
