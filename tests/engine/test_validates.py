"""Validates that a worker starts, on a real Temporal: what is known of them at once, and beside a Run's own ones."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from contract.errors import Conflict
from contract.flow import names
from contract.flow.attempt import AttemptStatus, Tried
from contract.flow.auth_session import ValidateInput
from contract.flow.run import RunOutcome, RunStatus, RunType
from engine import validates
from engine.listing import RunFilter, RunLine
from engine.records import Records
from engine.runs import Runs
from engine.validates import start_good
from tests.polling import until
from tests.workflows.logins import FIRST, LoginStage
from tests.workflows.scripted import WORKSPACE, order

BEGAN = datetime(2026, 1, 2, 10, tzinfo=UTC)
ENDED = BEGAN + timedelta(seconds=0.2)


@pytest.fixture
def records(client: Client) -> Records:
    return Records(client)


@pytest.fixture
def put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their workflows take no step in these tests."""
    monkeypatch.setattr(validates, "_LET_THE_ATTEMPT_GO_FIRST", timedelta(hours=1))


def validate_of(stage: LoginStage, run_id: str) -> ValidateInput:
    return ValidateInput(
        workspace=WORKSPACE,
        project=stage.project,
        version="0123456789abcdef",
        ref=stage.ref,
        auto_recreate=True,
        check_attempts=2,
        create_attempts=2,
        request_timeout=timedelta(minutes=5),
        parent_run_id=run_id,
        begun=True,
        first_check_elsewhere=True,
    )


async def good(stage: LoginStage, run_id: str, number: int = 1, **fields: Any) -> str:
    """Start the Validate before Attempt `number` of a Run, as a worker does whose check was good; its id."""
    defaults: dict[str, Any] = {"number": 1, "login": FIRST, "started_at": BEGAN, "ended_at": ENDED}
    check = Tried(status=AttemptStatus.COMPLETED, **{**defaults, **fields})
    validate = names.validate_run_id(run_id, number)
    await start_good(stage.client, validate, validate_of(stage, run_id), check)
    return validate


async def run_of(stage: LoginStage, run_id: str | None = None) -> str:
    """A Run that is there, and waits."""
    run_id = run_id or secrets.token_hex(8)
    await Runs(stage.client).start(run_id, order(stage.project), fingerprint="")
    return run_id


async def line(records: Records, stage: LoginStage, run_id: str) -> RunLine:
    return (await records.record(WORKSPACE, stage.project, run_id)).line


async def validates_listed(records: Records, stage: LoginStage, run_id: str, count: int) -> list[RunLine]:
    """Visibility comes a moment after."""
    found: list[RunLine] = []

    async def listed() -> bool:
        found[:] = [each.run for each in await records.validates(WORKSPACE, await line(records, stage, run_id))]
        return len(found) == count

    await until(listed)
    return found


async def test_it_ends_as_its_check_did(login_stage: LoginStage) -> None:
    validate = await good(login_stage, login_stage.run_id, number=3)
    handle = login_stage.client.get_workflow_handle(validate, result_type=RunOutcome)
    outcome = await handle.result()
    assert (outcome.status, outcome.login, outcome.attempts) == (RunStatus.COMPLETED, FIRST, 1)


@pytest.mark.parametrize("over", [False, True], ids=["running", "over"])
async def test_there_is_one_of_it_only(login_stage: LoginStage, put_off: None, over: bool) -> None:
    validate = await good(login_stage, login_stage.run_id)
    handle = login_stage.client.get_workflow_handle(validate)
    if over:
        await handle.terminate()
    with pytest.raises(Conflict, match=validate):
        await good(login_stage, login_stage.run_id)
    if not over:
        await handle.terminate()


async def test_that_temporal_does_not_answer_is_told(login_stage: LoginStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validates, "RPC_TIMEOUT", timedelta(microseconds=1))
    with pytest.raises(RPCError):
        await good(login_stage, login_stage.run_id)


async def test_lists_have_it_as_completed_from_its_start(
    records: Records, login_stage: LoginStage, put_off: None
) -> None:
    run_id = await run_of(login_stage)
    validate = await good(login_stage, run_id)
    (listed,) = await validates_listed(records, login_stage, run_id, 1)
    handle = login_stage.client.get_workflow_handle(validate)
    described = await handle.describe()
    assert described.status is WorkflowExecutionStatus.RUNNING
    assert (listed.run_id, listed.type, listed.status) == (
        validate,
        RunType.AUTH_SESSION_VALIDATE,
        RunStatus.COMPLETED,
    )
    assert (listed.parent_run_id, listed.auth_session_id, listed.attempts) == (run_id, login_stage.ref.id, 1)
    assert (listed.created_at, listed.started_at, listed.ended_at) == (BEGAN, BEGAN, ENDED)
    assert listed.created_at < described.start_time
    for status, count in ((RunStatus.COMPLETED, 1), (RunStatus.STARTED, 0), (RunStatus.PENDING, 0)):
        wanted = RunFilter(types=frozenset({listed.type}), statuses=frozenset({status}))
        page = await records.page(WORKSPACE, login_stage.project, wanted, limit=10)
        assert len(page.runs) == count
    await handle.terminate()


async def test_a_line_is_the_same_when_its_workflow_has_ended(records: Records, login_stage: LoginStage) -> None:
    run_id = await run_of(login_stage)
    validate = await good(login_stage, run_id)
    (before,) = await validates_listed(records, login_stage, run_id, 1)
    await login_stage.client.get_workflow_handle(validate).result()

    async def ended() -> bool:
        page = await records.page(WORKSPACE, login_stage.project, RunFilter(types=frozenset({before.type})), limit=10)
        counted = await login_stage.client.count_workflows(f"WorkflowId = '{validate}' AND CloseTime IS NOT NULL")
        return counted.count == 1 and list(page.runs) == [before]

    await until(ended)


async def test_those_of_a_run_stand_in_the_order_of_their_checks_whoever_has_started_them(
    records: Records, login_stage: LoginStage, put_off: None
) -> None:
    run_id = secrets.token_hex(8)
    await Runs(login_stage.client).start(run_id, order(login_stage.project, auth=login_stage.auth()), fingerprint="")
    await validates_listed(records, login_stage, run_id, 1)
    first = names.validate_run_id(run_id, 1)
    checks = [datetime.now(UTC), datetime.now(UTC)]
    third = await good(login_stage, run_id, 3, started_at=checks[1])
    second = await good(login_stage, run_id, 2, started_at=checks[0])
    listed = await validates_listed(records, login_stage, run_id, 3)
    assert [each.run_id for each in listed] == [first, second, third]
    assert [each.created_at for each in listed[1:]] == checks
    for validate in (run_id, first, second, third):
        await login_stage.client.get_workflow_handle(validate).terminate()


async def test_those_of_other_runs_are_not_among_them(records: Records, login_stage: LoginStage, put_off: None) -> None:
    """However alike the ids of the Runs are."""
    start = secrets.token_hex(4)
    ids = [f"{start}{rest}" for rest in ("a_b", "A_b", "a_bc", "axb", "a-b", "a", "a-vb")]
    for run_id in ids:
        await run_of(login_stage, run_id)
        await good(login_stage, run_id)
    for run_id in ids:
        (only,) = await validates_listed(records, login_stage, run_id, 1)
        assert (only.run_id, only.parent_run_id) == (f"{run_id}-v1", run_id)
    for run_id in ids:
        await login_stage.client.get_workflow_handle(f"{run_id}-v1").terminate()
        await login_stage.client.get_workflow_handle(run_id).terminate()


async def test_one_that_has_only_to_be_recorded_has_begun(
    records: Records, runs: Runs, login_stage: LoginStage, put_off: None
) -> None:
    """It is over for lists, and its result is not there yet: `pending` it never was."""
    validate = await good(login_stage, login_stage.run_id)
    handle = login_stage.client.get_workflow_handle(validate)
    state = await runs.state(WORKSPACE, login_stage.project, validate)
    assert (state.status, state.outcome) == (RunStatus.STARTED, None)
    known = await records.record(WORKSPACE, login_stage.project, validate)
    assert (known.line.ended_at, known.line.attempts) == (ENDED, 1)
    await handle.terminate()


async def test_its_result_is_waited_for(runs: Runs, login_stage: LoginStage) -> None:
    validate = await good(login_stage, login_stage.run_id)
    async with asyncio.timeout(30):
        state = await runs.state(WORKSPACE, login_stage.project, validate, wait=timedelta(seconds=30))
    assert state.outcome
    assert (state.status, state.outcome.login) == (RunStatus.COMPLETED, FIRST)
