"""Have a worker change a project as a whole: another version of it is deployed, or it is deleted."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import Priority
from temporalio.exceptions import WorkflowAlreadyStartedError

from callboard.schemas.errors import Conflict, NotFound, Unavailable
from callboard.schemas.workflow import names
from callboard.schemas.workflow.project_changes import (
    DeleteProjectInput,
    DeleteProjectResult,
    MovePointerInput,
    MovePointerResult,
    Refusal,
    RefusalKind,
)
from callboard.temporal.closing import wait_for_result
from callboard.temporal.rpc_errors import RPC_TIMEOUT, translate_rpc_errors

_MOVE_TIMEOUT = timedelta(seconds=20)
"""How long a move may take. Nobody waits for a longer time, and it must not happen an hour later."""
_DELETE_WAIT = timedelta(seconds=30)
"""How long a caller waits until a project is deleted."""
_TURN_TIMEOUT = timedelta(seconds=20)
"""How long a caller waits until another change of the project is over."""
_TURN_POLL = 0.2


class ProjectChanges:
    """The changes of projects, in one Temporal namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def move_pointer(self, move: MovePointerInput) -> str:
        """Let another version of the project be the deployed one, and return which.

        Raises:
            NotFound: There is no such version.
            Conflict: There is nothing to return to, or all projects together would have too many Machines.
            Unavailable: Temporal cannot be reached, or no worker has done it in time, and none will.
        """
        with translate_rpc_errors():
            handle = await self._start(names.MOVE_POINTER, move, f"{move.action} of {move.project}", _MOVE_TIMEOUT)
            try:
                result = MovePointerResult.model_validate(await wait_for_result(handle))
            except WorkflowFailureError as error:
                raise _nobody_did_it(move.project) from error
        _raise_if_refused(result.refused)
        if result.version is None:
            raise _nobody_did_it(move.project)
        return result.version

    async def delete(self, deletion: DeleteProjectInput) -> bool:
        """Delete a project, and tell whether that is done. If not, workers go on with it.

        Raises:
            Conflict: Runs or Deliveries have not ended, and are not to be canceled.
            Unavailable: Temporal cannot be reached.
        """
        with translate_rpc_errors():
            handle = await self._start(names.DELETE_PROJECT, deletion, f"Delete project {deletion.project}", None)
            try:
                async with asyncio.timeout(_DELETE_WAIT.total_seconds()):
                    result = DeleteProjectResult.model_validate(await wait_for_result(handle))
            except TimeoutError:
                return False
            except WorkflowFailureError as error:
                raise _nobody_did_it(deletion.project) from error
        _raise_if_refused(result.refused)
        return True

    async def _start(
        self, workflow: str, input: MovePointerInput | DeleteProjectInput, summary: str, timeout: timedelta | None
    ) -> WorkflowHandle[Any, Any]:
        """Start a change of a project once no other one runs. Raises Unavailable, or RPCError."""
        project = input.project
        deadline = asyncio.get_running_loop().time() + _TURN_TIMEOUT.total_seconds()
        while True:
            try:
                return await self._client.start_workflow(
                    workflow,
                    input,
                    id=names.project_change_workflow_id(project),
                    task_queue=names.CALLBOARD_QUEUE,
                    execution_timeout=timeout,
                    static_summary=summary,
                    static_details=f"Asked for by {input.by}",
                    priority=Priority(priority_key=names.PRIORITY_STARTED, fairness_key=names.fairness_key(project)),
                    rpc_timeout=RPC_TIMEOUT,
                )
            except WorkflowAlreadyStartedError as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise Unavailable(f"Another change of project {project} is under way. Try again later.") from error
                await asyncio.sleep(_TURN_POLL)


def _raise_if_refused(refusal: Refusal | None) -> None:
    if refusal is not None:
        raise (NotFound if refusal.kind is RefusalKind.NOT_FOUND else Conflict)(refusal.message)


def _nobody_did_it(project: str) -> Unavailable:
    return Unavailable(f"No worker with the role control has changed project {project} in time. Is one running?")
