"""Pausing, unpausing and resetting an activity, as somebody does it in Temporal's Web UI or command line."""

from __future__ import annotations

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import PauseActivityRequest, ResetActivityRequest, UnpauseActivityRequest
from temporalio.client import Client

from tests.support.polling import until


class PendingActivity:
    """The one pending activity of a workflow."""

    def __init__(self, client: Client, workflow_id: str) -> None:
        self._client = client
        self._workflow_id = workflow_id

    async def info(self) -> PendingActivityInfo:
        description = await self._client.get_workflow_handle(self._workflow_id).describe()
        (pending,) = description.raw_description.pending_activities
        return pending

    async def until(self, state: PendingActivityState.ValueType) -> None:
        async def is_in_state() -> bool:
            return (await self.info()).state == state

        await until(is_in_state)

    async def pause(self) -> None:
        namespace, execution, activity_id = await self._named()
        await self._client.workflow_service.pause_activity(
            PauseActivityRequest(namespace=namespace, execution=execution, id=activity_id)
        )

    async def unpause(self) -> None:
        namespace, execution, activity_id = await self._named()
        await self._client.workflow_service.unpause_activity(
            UnpauseActivityRequest(namespace=namespace, execution=execution, id=activity_id)
        )

    async def reset(self) -> None:
        namespace, execution, activity_id = await self._named()
        await self._client.workflow_service.reset_activity(
            ResetActivityRequest(namespace=namespace, execution=execution, id=activity_id)
        )

    async def _named(self) -> tuple[str, WorkflowExecution, str]:
        execution = WorkflowExecution(workflow_id=self._workflow_id)
        return self._client.namespace, execution, (await self.info()).activity_id
