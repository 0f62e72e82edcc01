"""Start the workflow `ApplyResources` after a deploy."""

from __future__ import annotations

from datetime import datetime

from temporalio.client import Client
from temporalio.common import Priority, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from callboard.schemas.workflow import names
from callboard.schemas.workflow.resources import ApplyResourcesInput
from callboard.temporal.rpc_errors import RPC_TIMEOUT, translate_rpc_errors
from workflows.visibility import project_search_attributes


async def start_apply_resources(client: Client, workspace: str, project: str, deployed_at: datetime) -> bool:
    """Start the workflow that applies a project's files of Jobs and AuthSessions, once for each deploy.

    Return False if it was started for the deploy of this time before.

    Raises:
        ConfigurationError: Temporal refuses.
        Unavailable: Temporal cannot be reached.
    """
    with translate_rpc_errors():
        try:
            await client.start_workflow(
                names.APPLY_RESOURCES,
                ApplyResourcesInput(workspace=workspace, project=project),
                id=names.apply_resources_workflow_id(project, deployed_at),
                task_queue=names.CALLBOARD_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                static_summary=f"Apply the files of Jobs and AuthSessions of {project}",
                priority=Priority(priority_key=names.PRIORITY_PENDING, fairness_key=names.fairness_key(project)),
                memo={names.MEMO_WORKSPACE: workspace},
                search_attributes=project_search_attributes(project),
                rpc_timeout=RPC_TIMEOUT,
            )
        except WorkflowAlreadyStartedError:
            return False
    return True
