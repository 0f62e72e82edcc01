"""Count how Runs, Deliveries and JobRuns end, as the workers see it that execute their workflows.

This is an interceptor of the worker, so workflows have no part in it: it sees how a workflow closes, and issues no
command. Nothing is counted while a history is replayed. The instruments are those of the process: the SDK's meter of a
workflow would make an instrument for each workflow, and give its samples labels that no metric of ours has.

A workflow that is terminated or timed out in Temporal closes without a worker, and is not counted.
"""

from __future__ import annotations

from typing import Any, override

from temporalio import workflow
from temporalio.exceptions import CancelledError, FailureError
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from callboard.schemas.workflow import names
from callboard.schemas.workflow.delivery import DeliverInput, DeliveryOutcome
from callboard.schemas.workflow.job_run import JobRunInput, JobRunView
from callboard.schemas.workflow.run import RunInput, RunOutcome
from callboard.telemetry import metrics
from workflows.outcomes import innermost_cause, outcome_of_failure


class WorkflowMetrics(Interceptor):
    """The interceptor of a worker that counts the ends of its workflows."""

    @override
    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        return _WorkflowEnd if metrics.current().is_on else None


class _WorkflowEnd(WorkflowInboundInterceptor):
    """The part of `WorkflowMetrics` that the SDK creates for each workflow."""

    @override
    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        try:
            result = await super().execute_workflow(input)
        except FailureError as failure:
            _count(input, None, failure)
            raise
        _count(input, result, None)
        return result


def _count(input: ExecuteWorkflowInput, result: object, failure: FailureError | None) -> None:
    if workflow.unsafe.is_replaying():
        return
    match input.args[0]:
        case RunInput() as run:
            outcome = result if isinstance(result, RunOutcome) else _run_outcome(failure)
            if outcome is not None:
                _count_run(run, outcome)
        case DeliverInput() as delivery:
            ended = result if isinstance(result, DeliveryOutcome) else outcome_of_failure(failure, DeliveryOutcome)
            if ended is not None:
                metrics.current().delivery_ended(delivery.project, sink=delivery.sink.kind, status=ended.status)
        case JobRunInput() as job_run:
            view = result if isinstance(result, JobRunView) else outcome_of_failure(failure, JobRunView)
            if view is not None:
                metrics.current().job_run_ended(job_run.project, view.status)
        case _:
            pass


def _run_outcome(failure: FailureError | None) -> RunOutcome | None:
    """Return the outcome of a Run that has not completed; None if its workflow ends by a defect."""
    if isinstance(failure, CancelledError):  # such a close carries no details
        return workflow.memo_value(names.MEMO_OUTCOME, None, type_hint=RunOutcome)
    return outcome_of_failure(failure, RunOutcome)


def _count_run(run: RunInput, outcome: RunOutcome) -> None:
    accepted_at = workflow.info().workflow_start_time
    metrics.current().run_ended(
        run.project,
        status=outcome.status,
        reason=innermost_cause(outcome),
        duration=workflow.now() - accepted_at,
        wait=None if outcome.started_at is None else outcome.started_at - accepted_at,
    )
