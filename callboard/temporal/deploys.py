"""Start deploys of uploads, and tell how far they are. Memos of workflows tell it, so no worker is needed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.common import Priority
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from callboard.schemas.errors import Conflict, NotFound
from callboard.schemas.workflow import names
from callboard.schemas.workflow.deploy import FAILED_MESSAGE, DeployInput, DeployStatus, DeployView
from callboard.schemas.workflow.resources import AppliedResources
from callboard.temporal.rpc_errors import RPC_TIMEOUT, translate_rpc_errors, unless_missing
from callboard.temporal.visibility_queries import equals

_TIMEOUT = timedelta(hours=2)
"""How long a deploy may take with all waits and tries, so that none goes on that everybody has forgotten."""
_NOT_FOUND = "There is no such deploy. They are known for as long as Runs are."


@dataclass(frozen=True)
class Deploy:
    """A deploy of an upload."""

    id: str
    view: DeployView


@dataclass(frozen=True)
class Application:
    """What became of the files of Jobs and AuthSessions after a deploy."""

    status: DeployStatus
    applied: AppliedResources | None = None
    """What was changed; None until it has ended, and if it has not succeeded."""


class Deploys:
    """The deploys in one Temporal namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def start(self, deploy: DeployInput) -> str:
        """Start a deploy, and return its id.

        Raises:
            Conflict: Another deploy of the project runs, or another change of it.
            ConfigurationError, Unavailable: Temporal refuses, or cannot be reached.
        """
        project = deploy.project
        with translate_rpc_errors():
            try:
                handle = await self._client.start_workflow(
                    names.DEPLOY,
                    deploy,
                    id=names.project_change_workflow_id(project),
                    task_queue=names.CALLBOARD_QUEUE,
                    execution_timeout=_TIMEOUT,
                    static_summary=f"Deploy {project}",
                    static_details=f"Asked for by {deploy.by}",
                    priority=Priority(priority_key=names.PRIORITY_STARTED, fairness_key=names.fairness_key(project)),
                    memo={
                        names.MEMO_WORKSPACE: deploy.workspace,
                        names.MEMO_DEPLOY: DeployView(project=project, promote=deploy.promote).model_dump(mode="json"),
                    },
                    rpc_timeout=RPC_TIMEOUT,
                )
            except WorkflowAlreadyStartedError as error:
                raise Conflict(
                    f"Project {project} is being deployed, or changed otherwise, at this moment. Ask for that deploy's "
                    "result, and try again when it has ended."
                ) from error
        return handle.result_run_id or ""

    async def get(self, workspace: str, project: str, deploy_id: str | None = None) -> Deploy:
        """Return a deploy of the project; without an id, the one that was started last.

        Raises:
            NotFound: There is none, or it ended too long ago.
            ConfigurationError, Unavailable: Temporal refuses, or cannot be reached.
        """
        with translate_rpc_errors(_NOT_FOUND):
            description = await self._describe(project, deploy_id)
            if (
                description is None
                or description.workflow_type != names.DEPLOY
                or await description.memo_value(names.MEMO_WORKSPACE, None) != workspace
            ):
                raise NotFound(_NOT_FOUND)
            view = await description.memo_value(names.MEMO_DEPLOY, type_hint=DeployView)
        ended = description.status is not WorkflowExecutionStatus.RUNNING
        if ended and view.status is DeployStatus.PENDING:  # it was ended from outside
            reason = f"It was ended in Temporal itself: its workflow is {_word(description.status)}."
            changes = {"status": DeployStatus.FAILED, "message": FAILED_MESSAGE, "reason": reason}
            view = view.model_copy(update=changes)
        return Deploy(description.run_id, view)

    async def get_application(self, project: str, deployed_at: datetime) -> Application | None:
        """Return what became of the files of Jobs and AuthSessions after the deploy of this time.

        Return None if that is not known any more.

        Raises:
            ConfigurationError, Unavailable: Temporal refuses, or cannot be reached.
        """
        handle = self._client.get_workflow_handle(
            names.apply_resources_workflow_id(project, deployed_at), result_type=AppliedResources
        )
        with translate_rpc_errors():
            description = await unless_missing(handle.describe(rpc_timeout=RPC_TIMEOUT))
            if description is None:
                return None
            match description.status:
                case WorkflowExecutionStatus.RUNNING:
                    return Application(DeployStatus.PENDING)
                case WorkflowExecutionStatus.COMPLETED:
                    applied = await handle.result(rpc_timeout=RPC_TIMEOUT)
                    return Application(DeployStatus.COMPLETED, applied)
                case _:
                    return Application(DeployStatus.FAILED)

    async def _describe(self, project: str, deploy_id: str | None) -> WorkflowExecutionDescription | None:
        workflow_id = names.project_change_workflow_id(project)
        handle = self._client.get_workflow_handle(workflow_id, run_id=deploy_id)
        try:
            description = await unless_missing(handle.describe(rpc_timeout=RPC_TIMEOUT))
        except RPCError as error:
            if error.status is RPCStatusCode.INVALID_ARGUMENT:  # it cannot be the id of anything
                return None
            raise
        if description is None or deploy_id is not None or description.workflow_type == names.DEPLOY:
            return description
        # Another change of the project came after it. The newest deploy comes first.
        query = f"{equals('WorkflowId', workflow_id)} AND {equals('WorkflowType', names.DEPLOY)}"
        async for found in self._client.list_workflows(query, limit=1, page_size=1, rpc_timeout=RPC_TIMEOUT):
            handle = self._client.get_workflow_handle(workflow_id, run_id=found.run_id)
            return await unless_missing(handle.describe(rpc_timeout=RPC_TIMEOUT))
        return None


def _word(status: WorkflowExecutionStatus | None) -> str:
    return "unknown" if status is None else status.name.lower().replace("_", " ")
