"""Whether a Run has begun, told from what Temporal says of its workflow at this moment."""

from __future__ import annotations

from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from contract.flow import names
from contract.flow.run import RunStatus
from engine import search
from engine.reaching import RPC_TIMEOUT

_ON_MACHINES = {names.ATTEMPT, names.ATTEMPT_AFTER_CHECK, names.CHECK, names.CREATE_LOGIN}

_FIRST_STEP = 5
"""Events of a workflow whose first step is done; before that there are three, or four if a cancel is among them."""
_SECOND_STEP = 10
"""The same for its second step: the first of a Run may be to start the AuthSession that lives for it alone."""


async def has_begun(client: Client, description: WorkflowExecutionDescription) -> bool:
    """Whether an Attempt of an unfinished Run, or a check of its Validate, is on a Machine, or was.

    A quick Attempt says nothing of its start, so that is seen from its activity, and afterwards from how far the
    workflow has come. Raises RPCError.
    """
    if description.typed_search_attributes.get(search.STATUS, RunStatus.PENDING.value) != RunStatus.PENDING.value:
        return True  # by its own word; a Validate can even have been over when it was started
    now = description.raw_description
    for activity in now.pending_activities:
        waits = activity.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED and activity.attempt <= 1
        if not waits or activity.activity_type.name not in _ON_MACHINES:
            return True
    if now.pending_activities:
        return False
    children = {child.workflow_type_name: child.workflow_id for child in now.pending_children}
    if names.VALIDATE in children:
        return await _validate_has_begun(client, children[names.VALIDATE])
    step = _SECOND_STEP if names.AUTH_SESSION in children else _FIRST_STEP
    return description.history_length >= step and now.pending_workflow_task.attempt <= 1


async def _validate_has_begun(client: Client, run_id: str) -> bool:
    try:
        description = await client.get_workflow_handle(run_id).describe(rpc_timeout=RPC_TIMEOUT)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False  # it is about to be started
    return description.status is not WorkflowExecutionStatus.RUNNING or await has_begun(client, description)
