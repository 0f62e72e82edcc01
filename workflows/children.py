"""Start the child workflows of Runs, JobRuns and alerts: Validates, Deliveries, an AuthSession of a Run's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.workflow import ChildWorkflowCancellationType, ChildWorkflowHandle, ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.alert import Alert
    from callboard.schemas.workflow.auth import AuthSessionStatus, RunAuth
    from callboard.schemas.workflow.auth_session import AuthSessionInput, AuthSessionView, ValidateInput
    from callboard.schemas.workflow.delivery import DeliverInput
    from callboard.schemas.workflow.handoff import Handoff
    from callboard.schemas.workflow.job_run import JobRunPlan
    from callboard.schemas.workflow.run import RunInput, RunOutcome, RunStatus, RunType
    from callboard.schemas.workflow.sink import SealedSink
    from workflows.visibility import (
        PROJECT,
        auth_run_memo,
        auth_run_search_attributes,
        auth_session_memo,
        project_search_attributes,
    )


async def start_validate(
    run: RunInput | JobRunPlan, auth: RunAuth, number: int = 1
) -> ChildWorkflowHandle[Any, RunOutcome]:
    """Start the Validate before Attempt `number` of this Run, or before the first Run of this JobRun.

    It is a Run of its own, which is canceled with this workflow.
    """
    own_id = workflow.info().workflow_id
    parent_run_id, queue_timeout, before = None, None, f"the first Run of JobRun `{own_id}`"
    takes_lease = auth.is_exclusive
    if isinstance(run, RunInput):
        parent_run_id, before = own_id, f"Attempt {number} of Run `{own_id}`"
        queue_timeout = run.queue_timeout if number == 1 else None
        takes_lease = False
    return await workflow.start_child_workflow(
        names.VALIDATE,
        ValidateInput(
            workspace=run.workspace,
            project=run.project,
            version=run.version,
            ref=auth.ref,
            auto_recreate=auth.auto_recreate,
            check_attempts=auth.check_attempts,
            create_attempts=auth.create_attempts,
            request_timeout=auth.request_timeout,
            queue_timeout=queue_timeout,
            trace=auth.trace,
            save_back=auth.save_back,
            takes_lease=takes_lease,
            proxy=auth.proxy,
            parent_run_id=parent_run_id,
            is_run_started=number > 1,
            job=run.job,
        ),
        id=names.validate_run_id(own_id, number),
        result_type=RunOutcome,
        cancellation_type=ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
        parent_close_policy=ParentClosePolicy.REQUEST_CANCEL,
        memo=auth_run_memo(run.workspace, run.version, parent_run_id),
        search_attributes=auth_run_search_attributes(run.project, auth.ref.id, RunType.AUTH_SESSION_VALIDATE),
        static_summary=f"Validate {auth.ref.id} of {run.project}",
        static_details=f"Before {before}",
    )


async def start_runtime_auth_session(run: RunInput, auth: RunAuth) -> None:
    """Start the AuthSession that lives for this Run alone.

    It is canceled when the Run is over, and removes itself with the input that it was given. So it is started even if
    the Run is canceled already.
    """
    now = workflow.now()
    view = AuthSessionView(
        id=auth.ref.id,
        type=auth.ref.type,
        status=AuthSessionStatus.PENDING,
        parameters_key=auth.parameters_key,
        proxy=auth.proxy,
        created_at=now,
        updated_at=now,
    )
    await workflow.start_child_workflow(
        names.AUTH_SESSION,
        AuthSessionInput(workspace=run.workspace, project=run.project, ref=auth.ref, view=view),
        id=names.auth_session_workflow_id(run.project, auth.ref.owner),
        cancellation_type=ChildWorkflowCancellationType.ABANDON,
        parent_close_policy=ParentClosePolicy.REQUEST_CANCEL,
        memo=auth_session_memo(run.workspace, view),
        static_summary=f"AuthSession {auth.ref.id} of {run.project}",
        static_details=f"Lives for Run `{workflow.info().workflow_id}` alone",
    )


async def start_delivery(run: RunInput, outcome: RunOutcome) -> None:
    """Start the Delivery of a Run that ended with `outcome`, if it has one; the Run's artifacts are durable by now.

    Return once the Delivery has started. It waits until the Run is closed, so that a receiver that asks for the result
    finds it.
    """
    sink = run.sink
    if sink is None or outcome.status is RunStatus.CANCELED:
        return
    if not sink.delivers(run.api, failed=outcome.status is RunStatus.FAILED):
        return
    run_id = workflow.info().workflow_id
    delivery = DeliverInput(
        workspace=run.workspace,
        project=run.project,
        run_id=run_id,
        delivery_id=names.SINK_DELIVERY,
        api=run.api,
        parameters=run.parameters,
        auth_session_id=None if run.auth is None else run.auth.ref.id,
        sink=sink,
        job=run.job,
    )
    await _start_delivery(delivery, f"Deliver the result of {run.project}/{run.api}", f"Run `{run_id}`")


async def start_handoff_delivery(handoff: Handoff, sink: SealedSink) -> None:
    """Start the Delivery that tells a webhook of a Handoff of this Run. Return once it has started."""
    info = workflow.info()
    delivery = DeliverInput(
        workspace=workflow.memo_value(names.MEMO_WORKSPACE, type_hint=str),
        project=info.typed_search_attributes[PROJECT],
        run_id=info.workflow_id,
        delivery_id=handoff.id,
        sink=sink,
        handoff=handoff,
    )
    await _start_delivery(delivery, f"Tell of a Handoff of {delivery.project}", f"Run `{delivery.run_id}`")


async def start_alert_deliveries(workspace: str, project: str, alert: Alert, sinks: Sequence[SealedSink]) -> None:
    """Start a Delivery for each receiver that is to hear that this alert was opened, or closed."""
    for number, sink in enumerate(sinks, start=1):
        delivery = DeliverInput(
            workspace=workspace,
            project=project,
            run_id=names.ALERTS_OWNER,
            delivery_id=f"{alert.message_id}-{number}",
            sink=sink,
            alert=alert,
        )
        await _start_delivery(delivery, f"Tell of an alert of {project}", f"Alert `{alert.id}`")


async def start_notifications(plan: JobRunPlan) -> None:
    """Start a Delivery for each receiver that is to hear of the end of this JobRun.

    They wait until the JobRun is closed, so that a receiver that asks for it finds its end.
    """
    for number, sink in enumerate(plan.notifications, start=1):
        notification = DeliverInput(
            workspace=plan.workspace,
            project=plan.project,
            run_id=plan.job_run_id,
            delivery_id=f"notification-{number}",
            sink=sink,
            job=plan.job,
        )
        summary = f"Tell of the end of a JobRun of {plan.project}/{plan.job_id}"
        await _start_delivery(notification, summary, f"JobRun `{plan.job_run_id}`")


async def _start_delivery(delivery: DeliverInput, summary: str, details: str) -> None:
    of_job = {names.MEMO_JOB: delivery.job.job_id} if delivery.job is not None and delivery.is_notification else {}
    try:
        await workflow.start_child_workflow(
            names.DELIVER,
            delivery,
            id=names.delivery_workflow_id(delivery.run_id, delivery.delivery_id),
            task_queue=names.DELIVERIES_QUEUE,
            priority=Priority(fairness_key=delivery.sink.fairness_key),
            parent_close_policy=ParentClosePolicy.ABANDON,
            cancellation_type=ChildWorkflowCancellationType.ABANDON,
            memo={
                names.MEMO_WORKSPACE: delivery.workspace,
                names.MEMO_PROJECT: delivery.project,
                names.MEMO_SINK: delivery.sink.masked(),
                **of_job,
            },
            search_attributes=project_search_attributes(delivery.project),
            static_summary=summary,
            static_details=details,
        )
    except WorkflowAlreadyStartedError:  # This workflow started it before somebody reset it.
        workflow.logger.info("%s has Delivery %s already", delivery.run_id, delivery.delivery_id)
