"""What is counted of workflows is counted once, and changes nothing: every recorded history replays with it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from callboard.schemas.workflow.run import ErrorCode, ReasonType, RunError, RunOutcome, RunReason, RunStatus
from callboard.temporal.workflow_metrics import WorkflowMetrics
from tests.support.counted import counting
from tests.support.job_run_stage import JOB_RUN_WORKFLOWS
from tests.support.repository import REPOSITORY
from tests.support.run_stage import WORKFLOWS
from workflows import outcomes
from workflows.alerts import AlertsWorkflow
from workflows.apply_resources import ApplyResourcesWorkflow
from workflows.bulk import BulkWorkflow
from workflows.deliver import DeliverWorkflow, SinkTestWorkflow
from workflows.deploy import DeployWorkflow
from workflows.fleet import FleetWorkflow
from workflows.inbox import InboxWorkflow
from workflows.live import DialLiveWorkflow
from workflows.outcomes import innermost_cause
from workflows.project_changes import DeleteProjectWorkflow, MovePointerWorkflow
from workflows.sweep import SweepWorkflow

HISTORIES = sorted((REPOSITORY / "tests" / "histories").glob("*.json"))
OTHERS = (
    *(DeliverWorkflow, SinkTestWorkflow, SweepWorkflow, FleetWorkflow, ApplyResourcesWorkflow),
    *(DeployWorkflow, MovePointerWorkflow, DeleteProjectWorkflow, BulkWorkflow, InboxWorkflow),
    *(AlertsWorkflow, DialLiveWorkflow),
)


async def _histories() -> AsyncIterator[WorkflowHistory]:
    for path in HISTORIES:
        said = WorkflowHistory.from_json("", path.read_text())
        workflow_id = said.events[0].workflow_execution_started_event_attributes.workflow_id
        yield WorkflowHistory(workflow_id or f"run-{path.stem}", said.events)


async def test_a_replay_counts_nothing_and_goes_as_it_went() -> None:
    replayer = Replayer(
        workflows=[*WORKFLOWS, *JOB_RUN_WORKFLOWS, *OTHERS],
        data_converter=pydantic_data_converter,
        interceptors=[WorkflowMetrics()],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    with counting() as counted:
        async with replayer.workflow_replay_iterator(_histories()) as results:
            failures = [result.replay_failure async for result in results]
        assert counted() == []
    assert failures == [None] * len(HISTORIES)


def test_why_a_run_ended_is_told_in_one_word() -> None:
    script = RunError(code=ErrorCode.SCRIPT_TIMEOUT, category="execution", message="It took too long.")
    attempt = outcomes.AttemptOutcome(status=outcomes.AttemptStatus.FAILED, error=script)
    assert innermost_cause(outcomes.attempts_failed(attempt, 3)) == "script-timeout"
    assert innermost_cause(outcomes.failed_for_good(attempt, 1)) == "script-timeout"
    assert innermost_cause(outcomes.canceled(1)) == "cancelled-user-action"
    access = RunReason(type=ReasonType.API_ACCESS_DISABLED, message="It is off.")
    assert innermost_cause(outcomes.canceled(0, access)) == "api-access-disabled"
    assert innermost_cause(RunOutcome(status=RunStatus.COMPLETED)) == ""
    of_another_build = RunError(code=ErrorCode.API_ATTEMPTS_FAILED, category="user", message="?", details={})
    assert innermost_cause(RunOutcome(status=RunStatus.FAILED, error=of_another_build)) == "api-attempts-failed"
