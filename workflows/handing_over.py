"""The last step of a Run that has a sink: start its Delivery, and let go of it."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.workflow import ChildWorkflowCancellationType, ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from contract.flow import names
    from contract.flow.delivery import DeliverInput
    from contract.flow.run import RunInput, RunOutcome, RunStatus
    from workflows.deliver import DeliverWorkflow


async def hand_over(order: RunInput, outcome: RunOutcome) -> None:
    """Start the Delivery of a Run that ended so, if there is one; its artifacts are durable by now.

    Returns once it has begun, also if the Run is canceled meanwhile: the outcome stands. The Delivery itself waits
    until the Run is closed, so that a receiver that asks for the result finds it.
    """
    sink = order.sink
    if sink is None or outcome.status is RunStatus.CANCELED:
        return
    if not sink.wants(order.api, failed=outcome.status is RunStatus.FAILED):
        return
    run_id = workflow.info().workflow_id
    starting = workflow.start_child_workflow(
        DeliverWorkflow.run,
        DeliverInput(
            workspace=order.workspace,
            project=order.project,
            run_id=run_id,
            delivery_id=names.SINK_DELIVERY,
            api=order.api,
            parameters=order.parameters,
            auth_session_id=None if order.auth is None else order.auth.ref.id,
            sink=sink,
        ),
        id=names.delivery_workflow(run_id, names.SINK_DELIVERY),
        task_queue=names.DELIVERIES_QUEUE,
        parent_close_policy=ParentClosePolicy.ABANDON,
        cancellation_type=ChildWorkflowCancellationType.ABANDON,
        memo={
            names.MEMO_WORKSPACE: order.workspace,
            names.MEMO_PROJECT: order.project,
            names.MEMO_SINK: sink.shown(),
        },
        static_summary=f"{order.project}/{order.api}: the result of Run {run_id}",
    )
    begun = asyncio.ensure_future(starting)
    try:
        try:
            await asyncio.shield(begun)
        except asyncio.CancelledError:
            await begun
    except WorkflowAlreadyStartedError:  # by this very Run, before somebody reset it
        workflow.logger.info("Run %s has its Delivery already", run_id)
