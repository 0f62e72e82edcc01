"""Start, look at and cancel Runs, on a real Temporal."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Never

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from callboard.schemas.errors import Conflict, NotFound
from callboard.schemas.workflow import names
from callboard.schemas.workflow.actor import Actor
from callboard.schemas.workflow.base import JsonRef
from callboard.schemas.workflow.run import ErrorCode, ReasonType, RunError, RunInput, RunOutcome, RunStatus
from callboard.temporal.runs import Runs, RunState
from tests.support.constants import SOMEBODY
from tests.support.encryption import with_encryption
from tests.support.present import assert_has, present
from tests.support.run_stage import HeldAttempt, RunStage, completed, ends, failed, outcome_of, run_input, start_run
from tests.support.stage import WORKSPACE
from workflows.outcomes import close
from workflows.run_workflow import RunWorkflow

AT_ONCE = timedelta()
LONG = timedelta(seconds=20)


async def start(runs: Runs, stage: RunStage, fingerprint: str = "body-1", **fields: Any) -> bool:
    return await runs.start(stage.run_id, run_input(stage.project, **fields), fingerprint=fingerprint)


async def state(runs: Runs, stage: RunStage, wait: timedelta = AT_ONCE) -> RunState:
    return await runs.get_state(WORKSPACE, stage.project, stage.run_id, wait=wait)


async def cancel(runs: Runs, stage: RunStage, wait: timedelta = AT_ONCE) -> RunState:
    canceled = await runs.cancel(WORKSPACE, stage.project, stage.run_id, by=SOMEBODY)
    return await state(runs, stage, wait) if wait else canceled


# Start.


@with_encryption
async def test_a_run_is_started_with_what_lists_and_the_web_ui_show(runs: Runs, stage: RunStage) -> None:
    assert await start(runs, stage, api="products/details")
    description = await stage.handle.describe()
    assert description.task_queue == "callboard-runs"
    assert description.workflow_type == "Run"
    found = {pair.key.name: pair.value for pair in description.typed_search_attributes}
    assert found | {"BuildIds": None} == {
        "CallboardProject": stage.project,
        "CallboardApi": "products/details",
        "CallboardStatus": "pending",
        "CallboardRunType": "api",
        "BuildIds": None,
    }
    assert await description.static_summary() == f"{stage.project}/products/details"
    assert description.raw_description.workflow_execution_info.priority.priority_key == names.PRIORITY_PENDING


async def test_temporal_and_the_outcome_say_who_has_started_and_canceled_a_run(runs: Runs, stage: RunStage) -> None:
    another = Actor(id="operator-0123abcd", name="operator")
    await start(runs, stage, started_by=SOMEBODY)
    await runs.cancel(WORKSPACE, stage.project, stage.run_id, by=another)
    ended = await state(runs, stage, LONG)
    assert ended.outcome is not None
    assert (ended.status, ended.outcome.canceled_by) == (RunStatus.CANCELED, another)
    description = await stage.handle.describe()
    assert "- Started by `nightly (Zk3vT9qLm2Xa)`" in str(await description.static_details())
    causes = [
        event.workflow_execution_cancel_requested_event_attributes.cause
        async for event in stage.handle.fetch_history_events()
        if event.HasField("workflow_execution_cancel_requested_event_attributes")
    ]
    assert causes == ["Canceled by operator (operator-0123abcd)"]


async def test_the_same_start_again_starts_nothing(runs: Runs, stage: RunStage) -> None:
    assert await start(runs, stage)
    assert not await start(runs, stage)
    await stage.serve_attempts(ends(completed()))
    await state(runs, stage, LONG)
    assert not await start(runs, stage), "nor does it when the Run has ended"
    assert len(stage.inputs) == 1


@with_encryption
async def test_the_same_start_with_another_body_is_a_conflict(runs: Runs, stage: RunStage) -> None:
    await start(runs, stage)
    with pytest.raises(Conflict, match="another body"):
        await start(runs, stage, fingerprint="body-2")
    await cancel(runs, stage, LONG)
    with pytest.raises(Conflict, match="another body"):
        await start(runs, stage, fingerprint="body-2")


async def test_of_many_same_starts_at_once_one_starts_the_run(runs: Runs, stage: RunStage) -> None:
    started = await asyncio.gather(*(start(runs, stage) for _ in range(10)))
    assert sorted(started) == [False] * 9 + [True]


# State.


@with_encryption
async def test_a_run_is_pending_then_started_then_what_it_came_to(runs: Runs, stage: RunStage) -> None:
    held = HeldAttempt(stage)
    await start(runs, stage)
    assert await state(runs, stage) == RunState(stage.run_id, RunStatus.PENDING)
    await stage.serve_attempts(held)
    await held.began.wait()
    # The Attempt has said nothing: that it is on a Machine is seen from its activity.
    assert await state(runs, stage) == RunState(stage.run_id, RunStatus.STARTED)
    held.end(completed("[1]"))
    ended = await state(runs, stage, LONG)
    result = JsonRef(text="[1]", size=3)
    assert ended.outcome
    outcome = RunOutcome(status=RunStatus.COMPLETED, result=result, attempts=1, ended_at=ended.outcome.ended_at)
    assert ended == RunState(stage.run_id, RunStatus.COMPLETED, outcome)
    assert await state(runs, stage) == ended


async def test_whoever_started_a_run_waits_without_asking_whose_it_is(
    runs: Runs, client: Client, stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start(runs, stage)
    assert (await state(runs, stage, timedelta(seconds=0.1))).status is RunStatus.PENDING
    await stage.serve_attempts(ends(completed()))
    ended = await state(Runs(client), stage, LONG)
    monkeypatch.setattr(runs, "describe", None)
    assert await state(runs, stage, LONG) == ended
    monkeypatch.undo()
    for elsewhere in ((WORKSPACE, "other"), ("other", stage.project)):
        with pytest.raises(NotFound, match="no such Run"):
            await runs.get_state(*elsewhere, stage.run_id, wait=LONG)


async def test_it_remembers_so_many_runs_that_it_has_started(
    runs: Runs, client: Client, stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callboard.temporal.runs._MAX_REMEMBERED", 2)
    run_ids = [f"{stage.run_id}-{number}" for number in range(3)]
    for run_id in run_ids:
        await runs.start(run_id, run_input(stage.project), fingerprint="")
        await stage.cancel(run_id)
        await outcome_of(client.get_workflow_handle_for(RunWorkflow.run, run_id))
    asked: list[str] = []
    describe = runs.describe

    async def noting(workspace: str, project: str, run_id: str) -> Any:
        asked.append(run_id)
        return await describe(workspace, project, run_id)

    monkeypatch.setattr(runs, "describe", noting)
    for run_id in reversed(run_ids):
        await runs.get_state(WORKSPACE, stage.project, run_id, wait=LONG)
    assert set(asked) == {run_ids[0]}, "of the others it knows whose they are"


async def test_a_run_that_waits_for_its_next_attempt_stays_started(runs: Runs, stage: RunStage) -> None:
    held = HeldAttempt(stage, announced=True)
    await stage.serve_attempts(held)
    await start(runs, stage)
    await held.began.wait()
    await stage.stop_serving_attempts()
    held.end(failed())
    await stage.until("ACTIVITY_TASK_SCHEDULED", 2)
    assert (await state(runs, stage)).status is RunStatus.STARTED


async def test_waiting_for_a_run_that_does_not_end_tells_how_it_is_then(runs: Runs, stage: RunStage) -> None:
    held = HeldAttempt(stage)
    await start(runs, stage)
    waiting = asyncio.create_task(state(runs, stage, timedelta(seconds=1)))
    await stage.serve_attempts(held)
    await held.began.wait()
    assert await waiting == RunState(stage.run_id, RunStatus.STARTED)
    held.end(completed())
    await stage.ended()  # a worker that is stopped just as an Attempt ends has been seen to wait without end


async def test_the_end_of_a_run_is_told_also_while_its_state_is_being_read(
    runs: Runs, stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, asked = HeldAttempt(stage), asyncio.Event()
    await stage.serve_attempts(held)
    await start(runs, stage)
    await held.began.wait()

    async def never_tells(*_run: str) -> Never:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(runs, "describe", never_tells)
    waiting = asyncio.create_task(state(runs, stage, timedelta(seconds=0.1)))
    await asked.wait()
    held.end(completed())
    assert (await waiting).status is RunStatus.COMPLETED
    await runs.close()


@pytest.mark.parametrize(
    "run_id", ["nobody", "", "a b", "../other", "x" * 65, "é", "a/b", "run\n", "%00", "'; drop table runs"]
)
async def test_there_is_no_run_of_an_unknown_or_impossible_id(runs: Runs, stage: RunStage, run_id: str) -> None:
    for call in (
        runs.get_state(WORKSPACE, stage.project, run_id),
        runs.cancel(WORKSPACE, stage.project, run_id, by=SOMEBODY),
    ):
        with pytest.raises(NotFound):
            await call


async def test_a_run_is_there_for_its_own_project_and_workspace_only(runs: Runs, stage: RunStage) -> None:
    await start(runs, stage)
    elsewhere = "11111111-1111-1111-1111-111111111111"
    for workspace, project in ((elsewhere, stage.project), (WORKSPACE, "other"), (WORKSPACE, "")):
        with pytest.raises(NotFound):
            await runs.get_state(workspace, project, stage.run_id)
        with pytest.raises(NotFound):
            await runs.cancel(workspace, project, stage.run_id, by=SOMEBODY)
    assert (await state(runs, stage)).status is RunStatus.PENDING, "no stranger has canceled it"


async def test_a_workflow_of_somebody_else_is_no_run(runs: Runs, client: Client, stage: RunStage) -> None:
    await client.start_workflow("Other", id=stage.run_id, task_queue="nobody")
    with pytest.raises(NotFound):
        await state(runs, stage)
    await stage.handle.terminate()


# Cancel.


@with_encryption
async def test_a_running_run_reads_canceled_only_when_its_attempt_has_ended(runs: Runs, stage: RunStage) -> None:
    held = HeldAttempt(stage, announced=True)
    await stage.serve_attempts(held)
    await start(runs, stage)
    await held.began.wait()
    for _ in range(3):  # to ask again changes nothing
        assert await cancel(runs, stage) == RunState(stage.run_id, RunStatus.STARTED)
    held.end()
    ended = await cancel(runs, stage, LONG)
    assert ended.status is RunStatus.CANCELED
    assert await cancel(runs, stage, LONG) == ended == await state(runs, stage)


async def test_a_run_that_has_ended_is_left_as_it_is_by_a_cancel(runs: Runs, stage: RunStage) -> None:
    await stage.serve_attempts(ends(completed()))
    await start(runs, stage)
    ended = await state(runs, stage, LONG)
    assert ended.status is RunStatus.COMPLETED
    assert await cancel(runs, stage, LONG) == ended


# Ends that are not the workflow's own.


async def test_a_run_that_was_terminated_in_temporal_reads_canceled(runs: Runs, stage: RunStage) -> None:
    await start(runs, stage)
    await stage.handle.terminate("by the operator")
    ended = await state(runs, stage)
    assert ended.status is RunStatus.CANCELED
    assert present(present(ended.outcome).reason).type is ReasonType.TERMINATED
    assert await cancel(runs, stage) == ended


async def test_a_run_that_timed_out_in_temporal_reads_failed(runs: Runs, client: Client, stage: RunStage) -> None:
    run: RunInput = run_input(stage.project)
    await start_run(client, run, stage.run_id, names.RUNS_QUEUE, execution_timeout=timedelta(seconds=1))
    ended = await state(runs, stage, LONG)
    assert ended.status is RunStatus.FAILED
    assert_has(present(ended.outcome).error, code=ErrorCode.INTERNAL_SERVER_ERROR, retirable=True)


@workflow.defn(name=names.RUN, sandboxed=False)
class Failing:
    """A Run that does nothing but fail: with the outcome that its parameters are, or by a defect."""

    @workflow.run
    async def run(self, run: RunInput) -> RunOutcome:
        if run.parameters.text is None:
            raise ApplicationError("a secret of ours")
        return close(RunOutcome.model_validate_json(run.parameters.text), cancel_requested=False)


async def fails(runs: Runs, stage: RunStage, parameters: JsonRef) -> RunState:
    queue = f"failing-{stage.project}"
    run = run_input(stage.project, parameters=parameters)
    async with Worker(stage.client, task_queue=queue, workflows=[Failing]):
        await start_run(stage.client, run, stage.run_id, queue)
        return await state(runs, stage, LONG)


async def test_a_workflow_that_failed_without_an_outcome_tells_nothing_of_ours(runs: Runs, stage: RunStage) -> None:
    ended = await fails(runs, stage, JsonRef(key="nowhere", size=0))
    assert ended.status is RunStatus.FAILED
    error = present(present(ended.outcome).error)
    assert error.code is ErrorCode.INTERNAL_SERVER_ERROR
    assert "secret" not in error.message


@with_encryption
async def test_an_outcome_of_thirty_kilobytes_travels_with_the_close(runs: Runs, stage: RunStage) -> None:
    error = RunError(
        code=ErrorCode.SCRIPT_EXECUTION_EXCEPTION,
        category="user",
        message="x" * 4_000,
        details={"stack": "y" * 26_000},
    )
    outcome = RunOutcome(status=RunStatus.FAILED, error=error, attempts=1)
    text = outcome.model_dump_json()
    ended = await fails(runs, stage, JsonRef(text=text, size=len(text)))
    assert ended.outcome == outcome
