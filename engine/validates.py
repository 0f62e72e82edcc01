"""Validates that a worker starts: those of which all is known by then, as it has made their one check itself."""

from __future__ import annotations

from datetime import timedelta

from temporalio.client import Client
from temporalio.common import Priority, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from contract.errors import Conflict
from contract.flow import names
from contract.flow.attempt import Tried
from contract.flow.auth_session import ValidateInput
from contract.flow.run import RunStatus, RunType
from engine.reaching import RPC_TIMEOUT
from workflows.attributes import memo_of_login_run, of_login_run

_LET_THE_ATTEMPT_GO_FIRST = timedelta(seconds=0.25)
"""A Validate that is good is only to be recorded, and all that lists show of it is there from its start. Its workflow
takes its one step when the Attempt that follows the check is on its way, or over: the two would slow each other."""


async def start_good(client: Client, run_id: str, order: ValidateInput, check: Tried) -> None:
    """Start Validate `run_id`, which was completed by this check.

    Raises:
        Conflict: There is one: its Run goes by another check, as it has taken this one for lost.
        RPCError: Temporal cannot be reached.
    """
    known = {"started_at": check.started_at, "ended_at": check.ended_at, "attempts": check.number}
    try:
        await client.start_workflow(
            names.VALIDATE,
            order.model_copy(update={"first_checked": check}),
            id=run_id,
            task_queue=names.CALLBOARD_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            start_delay=_LET_THE_ATTEMPT_GO_FIRST,
            static_summary=f"{order.project}: validate {order.ref.id}",
            priority=Priority(priority_key=names.PRIORITY_BEGUN),
            memo=memo_of_login_run(order.workspace, order.version, order.parent_run_id, **known),
            search_attributes=of_login_run(
                order.project, order.ref.id, RunType.AUTH_SESSION_VALIDATE, RunStatus.COMPLETED
            ),
            rpc_timeout=RPC_TIMEOUT,
        )
    except WorkflowAlreadyStartedError as error:
        raise Conflict(f"There is a Validate {run_id} already.") from error
