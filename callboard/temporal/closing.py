"""Wait until a workflow closes, and read the outcome of a Run from how it closed. No worker is needed for that."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import CancelledError, TerminatedError

from callboard.schemas.workflow import names
from callboard.schemas.workflow.delivery import DeliveryOutcome, DeliveryStatus, TryProblem
from callboard.schemas.workflow.run import ReasonType, RunOutcome
from callboard.temporal.rpc_errors import RPC_TIMEOUT
from workflows.outcomes import ended_in_temporal, internal_error, outcome_of_failure

_FIRST_WAIT_SECONDS = 0.5
_MAX_WAIT_SECONDS = 5.0
"""Seconds of the first and of the longest wait; each wait is twice as long as the last. A busy server can lose the news
that a workflow closes, and then answers a waiting client only after twenty seconds, as if nothing had happened. A
client that asks again gets the answer at once."""

TERMINATED = ended_in_temporal(ReasonType.TERMINATED, "The Run was terminated.")
"""Outcome of a Run whose workflow somebody terminated in Temporal itself, so that it could not report its own
outcome."""

CANCELED = ended_in_temporal(ReasonType.CANCELLED_USER_ACTION, "The Run was canceled.")
"""Outcome of a Run whose workflow was canceled without having noted its outcome in its memo."""

INTERNAL_ERROR = internal_error("The Run ended by an error of Callboard; its workflow in Temporal shows which.")
"""Outcome of a Run whose workflow failed without reporting an outcome."""


async def wait_for_result[T](handle: WorkflowHandle[Any, T], *, follow_runs: bool = True) -> T:
    """Return what the workflow returns, as soon as it has closed. Errors and `follow_runs`: see `handle.result`."""
    wait = _FIRST_WAIT_SECONDS
    while True:
        try:
            async with asyncio.timeout(wait):
                return await handle.result(follow_runs=follow_runs)
        except TimeoutError:
            wait = min(2 * wait, _MAX_WAIT_SECONDS)


async def wait_for_outcome(handle: WorkflowHandle[Any, RunOutcome]) -> RunOutcome:
    """Return how a Run ended, as soon as its workflow has closed; see `workflows.outcomes.close`. Raises RPCError."""
    try:
        return await wait_for_result(handle)
    except WorkflowFailureError as error:
        if isinstance(error.cause, TerminatedError):
            return TERMINATED
        if isinstance(error.cause, CancelledError):
            description = await handle.describe(rpc_timeout=RPC_TIMEOUT)
            return await description.memo_value(names.MEMO_OUTCOME, CANCELED, type_hint=RunOutcome)
        return outcome_of_failure(error.cause, RunOutcome) or INTERNAL_ERROR


async def wait_for_delivery(handle: WorkflowHandle[Any, DeliveryOutcome]) -> DeliveryOutcome:
    """Return how this execution of a Delivery ended, as soon as it has closed. Raises RPCError."""
    try:
        return await wait_for_result(handle, follow_runs=False)
    except WorkflowFailureError as error:
        problem = TryProblem(type="Terminated", message="The Delivery was ended in Temporal, or with its project.")
        fallback = DeliveryOutcome(status=DeliveryStatus.FAILED, error=problem)
        return outcome_of_failure(error.cause, DeliveryOutcome) or fallback
