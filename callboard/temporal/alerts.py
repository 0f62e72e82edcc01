"""The alerts of projects: a workflow for each project that has rules counts its Runs, and shows them in its memo.

The first Run that is counted starts it.
"""

from __future__ import annotations

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import Priority

from callboard.schemas.workflow import names
from callboard.schemas.workflow.alert import Alert, AlertsInput, CountedRun
from callboard.temporal.rpc_errors import RPC_TIMEOUT, translate_rpc_errors, unless_missing
from workflows.visibility import alerts_memo, project_search_attributes


class Alerts:
    """The alerts of one Temporal namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def count(self, workspace: str, project: str, counted: CountedRun) -> None:
        """Count a Run that has ended. To repeat it changes nothing. Raises RPCError."""
        await self._client.start_workflow(
            names.ALERTS,
            AlertsInput(workspace=workspace, project=project),
            id=names.alerts_workflow_id(project),
            task_queue=names.CALLBOARD_QUEUE,
            start_signal=names.COUNT,
            start_signal_args=[counted],
            priority=Priority(priority_key=names.PRIORITY_STARTED),
            memo=alerts_memo(workspace),
            search_attributes=project_search_attributes(project),
            static_summary=f"Alerts of {project}",
            rpc_timeout=RPC_TIMEOUT,
        )

    async def list_all(self, workspace: str, project: str) -> list[Alert]:
        """Return the alerts of a project that are open, and the last others, in the order in which they were opened.

        Raises:
            Unavailable: Temporal cannot be reached.
        """
        handle = self._client.get_workflow_handle(names.alerts_workflow_id(project))
        with translate_rpc_errors():
            description = await unless_missing(handle.describe(rpc_timeout=RPC_TIMEOUT))
            if description is None or await description.memo_value(names.MEMO_WORKSPACE, None) != workspace:
                return []
            alerts = await description.memo_value(names.MEMO_ALERTS, list[Alert](), type_hint=list[Alert])
        is_running = description.status is WorkflowExecutionStatus.RUNNING
        return [each for each in alerts if is_running or not each.is_open]
