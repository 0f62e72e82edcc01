"""How a workflow is changed while Runs are in flight (CONTRIBUTING.md, "Change a workflow"): an example, and its proof.

The change is invented: a Run shall sleep for a moment before its Attempts. A Run that began before the change has no
such timer in its history, so it must go on without one; `workflow.patched` tells the two apart.
"""

import asyncio
from datetime import timedelta

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from callboard.schemas.workflow import names
from callboard.schemas.workflow.run import RunInput, RunOutcome, RunStatus
from tests.support.repository import REPOSITORY
from tests.support.run_stage import RunStage, completed, ends
from workflows.run_workflow import RunWorkflow

IN_FLIGHT = REPOSITORY / "tests" / "histories" / "success.json"
"""What a Run may look like that began before the change."""

MOMENT = timedelta(milliseconds=10)


@workflow.defn(name=names.RUN, sandboxed=False)
class CarelessRun(RunWorkflow):
    """The change, made as if no Run was in flight."""

    @workflow.run
    async def run(self, input: RunInput) -> RunOutcome:
        await asyncio.sleep(MOMENT.total_seconds())
        return await super().run(input)


@workflow.defn(name=names.RUN, sandboxed=False)
class PatchedRun(RunWorkflow):
    """The change, made for Runs that begin from now on."""

    @workflow.run
    async def run(self, input: RunInput) -> RunOutcome:
        if workflow.patched("sleep-before-attempts"):
            await asyncio.sleep(MOMENT.total_seconds())
        return await super().run(input)


async def replay(changed: type[RunWorkflow], history: WorkflowHistory) -> None:
    replayer = Replayer(
        workflows=[changed], data_converter=pydantic_data_converter, workflow_runner=UnsandboxedWorkflowRunner()
    )
    await replayer.replay_workflow(history)


async def test_without_a_patch_a_run_in_flight_breaks():
    with pytest.raises(workflow.NondeterminismError):
        await replay(CarelessRun, WorkflowHistory.from_json("run", IN_FLIGHT.read_text()))


async def test_with_a_patch_a_run_in_flight_goes_on():
    await replay(PatchedRun, WorkflowHistory.from_json("run", IN_FLIGHT.read_text()))


async def test_with_a_patch_a_new_run_takes_the_new_way_and_says_so(stage: RunStage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tests.support.run_stage.WORKFLOWS", (PatchedRun,))
    await stage.serve(ends(completed()))
    await stage.start()
    assert (await stage.ended()).status is RunStatus.COMPLETED
    types = [event.event_type for event in await stage.events()]
    assert EventType.EVENT_TYPE_MARKER_RECORDED in types
    assert EventType.EVENT_TYPE_TIMER_FIRED in types
    await replay(PatchedRun, await stage.handle.fetch_history())
