"""Workflow `Run` of a project that logs in: a Validate for each Attempt (docs/contract.md, section 10, rule 2)."""

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import StopInput
from callboard.schemas.workflow.auth import AuthSessionStatus, DeleteStatesInput
from callboard.schemas.workflow.run import ErrorCode, ReasonType, RunStatus, RunType
from tests.support.auth_stage import FIRST, LoginStage
from tests.support.polling import until
from tests.support.present import present
from tests.support.run_outcomes import assert_canceled, scheduled_of, status_in_lists
from tests.support.run_stage import HeldAttempt, completed, ends, failed, run_input, scheduled, start_run
from tests.support.stage import WORKSPACE
from workflows import visibility
from workflows.priorities import run_priority


def assert_not_validated(stage: LoginStage, message: str) -> dict[str, Any]:
    """The details of its reason."""
    assert stage.outcome.status is RunStatus.CANCELED
    assert stage.outcome.error is None
    assert stage.outcome.reason
    assert stage.outcome.reason.type is ReasonType.VALIDATE_FAILED
    assert message in stage.outcome.reason.message
    return stage.outcome.reason.details or {}


async def test_a_run_whose_first_check_is_queued_too_long_leaves_the_login(play_login: Any):
    stage = await play_login("run-queued-too-long")
    assert stage.outcome.status is RunStatus.FAILED
    assert (present(stage.outcome.error).code, stage.outcome.attempts) == (ErrorCode.QUEUE_TIMEOUT, 0)
    assert await stage.status() is AuthSessionStatus.READY
    assert stage.checked == []


async def test_the_first_check_of_a_run_of_a_bulk_gives_way_as_the_run_does(login_stage: LoginStage):
    own = run_priority(login_stage.project, "bulk-1")
    login_stage.valid = {1}
    await login_stage.serve(ends(completed()))
    await login_stage.bring_up()
    run = run_input(login_stage.project, auth=login_stage.auth())
    await start_run(login_stage.client, run, login_stage.run_id, login_stage.queue, priority=own)
    assert (await login_stage.ended()).status is RunStatus.COMPLETED
    (check,) = scheduled(await login_stage.events(f"{login_stage.run_id}-v1"))
    assert (check.priority.priority_key, check.priority.fairness_key) == (names.PRIORITY_BATCH, "bulk-1")


async def test_a_run_with_a_login_reads_secrets_though_its_project_has_had_no_variable(login_stage: LoginStage):
    login_stage.valid = {1}
    await login_stage.serve(ends(completed()))
    await login_stage.bring_up()
    await login_stage.start(auth=login_stage.auth(), reads_variables=False)
    await login_stage.ended()
    assert login_stage.run_id in [input.run_id for input in login_stage.collected]


async def test_each_attempt_comes_after_a_validate_and_has_its_login(play_login: Any):
    stage = await play_login("run-with-a-login")
    assert (stage.outcome.status, stage.outcome.attempts) == (RunStatus.COMPLETED, 2)
    assert stage.outcome.login is None
    validates = [f"{stage.run_id}-v{number}" for number in (1, 2)]
    assert [(input.run_id, input.parent_run_id) for input in stage.checked] == [
        (id_, stage.run_id) for id_ in validates
    ]
    for input in stage.inputs:
        assert input.auth
        assert (input.auth.ref, input.auth.initial_login, input.auth.save_back) == (stage.ref, FIRST, True)

    # Once its first check has begun, the Run goes before others.
    attempts = [attempt.priority.priority_key for attempt in await scheduled_of(stage, names.ATTEMPT)]
    assert attempts == [names.PRIORITY_STARTED] * 2
    checks = [check.priority.priority_key for run_id in validates for check in scheduled(await stage.events(run_id))]
    assert checks == [names.PRIORITY_PENDING, names.PRIORITY_STARTED]

    # Its Validate is a Run of its own that names it.
    description = await stage.client.get_workflow_handle(validates[0]).describe()
    assert description.workflow_type == "Validate"
    memo = await description.memo()
    assert (memo["workspace"], memo["parentRunId"]) == (WORKSPACE, stage.run_id)
    found = {pair.key.name: pair.value for pair in description.typed_search_attributes}
    assert {name: found[name] for name in found if name != "BuildIds"} == {
        "CallboardProject": stage.project,
        "CallboardAuthSession": stage.ref.id,
        "CallboardStatus": "pending",
        "CallboardRunType": "auth-session-validate",
    }


async def test_a_run_that_waits_for_a_machine_after_a_quick_check_is_started(login_stage: LoginStage):
    login_stage.valid = {1}
    attempt = HeldAttempt(login_stage)
    await login_stage.serve(attempt)
    await login_stage.bring_up()
    await login_stage.start(auth=login_stage.auth())
    await login_stage.until("ACTIVITY_TASK_SCHEDULED")
    assert await status_in_lists(login_stage) == "started"
    attempt.end(completed())


async def test_a_run_whose_login_is_not_good_makes_no_further_attempt(play_login: Any):
    stage = await play_login("run-without-a-good-login")
    details = assert_not_validated(stage, "what it returned is not true")
    assert details["validateRunId"] == f"{stage.run_id}-v2"
    assert details["error"]["code"] == "check-attempts-failed"
    validate = await stage.outcome_of(details["validateRunId"])
    assert details["error"] == validate.error.model_dump(mode="json", exclude_none=True)
    assert (stage.outcome.attempts, len(stage.inputs)) == (1, 1)
    assert await status_in_lists(stage) == "canceled"
    await stage.until_status(AuthSessionStatus.EXPIRED)


async def test_a_lost_attempt_is_made_again_after_another_validate(play_login: Any):
    stage = await play_login("run-interrupted-after-its-validate")
    assert (stage.outcome.status, stage.outcome.attempts) == (RunStatus.COMPLETED, 2)
    assert [lost.number for lost in stage.lost] == [1]
    assert [input.run_id for input in stage.checked] == [f"{stage.run_id}-v1", f"{stage.run_id}-v2"]


async def test_a_cancel_during_the_attempt_leaves_its_validate_as_it_was(play_login: Any):
    stage = await play_login("run-canceled-in-the-attempt-after-its-validate")
    assert_canceled(stage.outcome)
    assert (stage.outcome.attempts, [stop.number for stop in stage.stops]) == (1, [1])
    assert (await stage.outcome_of(f"{stage.run_id}-v1")).status is RunStatus.COMPLETED


async def test_a_session_deleted_after_the_validate_counts_as_not_validated(play_login: Any):
    stage = await play_login("run-whose-session-is-deleted-before-its-attempt")
    details = assert_not_validated(stage, "deleted")
    assert details["error"]["code"] == "auth-check-failed"
    assert (stage.outcome.attempts, len(stage.inputs)) == (1, 1)


async def test_a_session_deleted_while_its_run_waits_ends_the_run(login_stage: LoginStage):
    create = login_stage.hold(login_stage.creates, stops=True)
    await login_stage.serve(ends(completed()))
    await login_stage.bring_up()
    await login_stage.start(auth=login_stage.auth())
    await create.began.wait()
    await login_stage.delete()
    login_stage.outcome = await login_stage.ended()
    details = assert_not_validated(login_stage, "is not there any more: it was deleted")
    assert details["validateRunId"] == f"{login_stage.run_id}-v1"
    assert login_stage.inputs == []
    await login_stage.closed()


async def test_a_run_whose_validate_was_terminated_in_temporal_makes_no_attempt(play_login: Any):
    stage = await play_login("run-whose-validate-is-terminated")
    assert assert_not_validated(stage, "terminated") == {"validateRunId": f"{stage.run_id}-v1"}
    assert stage.inputs == []


async def test_a_cancel_during_a_check_stops_it_at_once(play_login: Any):
    stage = await play_login("run-canceled-in-its-validate")
    assert_canceled(stage.outcome)
    assert (stage.outcome.attempts, stage.inputs) == (0, [])
    assert stage.stops == [StopInput(run_id=f"{stage.run_id}-v1", number=1)]
    assert_canceled(await stage.outcome_of(f"{stage.run_id}-v1"))
    assert await stage.status() is AuthSessionStatus.READY


async def test_a_run_is_started_from_its_first_check_on_until_that_has_ended(login_stage: LoginStage):
    check = HeldAttempt(login_stage, announced=True)
    login_stage.checks.append(check)
    await login_stage.open()
    await login_stage.start(auth=login_stage.auth())
    await check.began.wait()
    await login_stage.until("UPSERT_WORKFLOW_SEARCH_ATTRIBUTES")
    assert await status_in_lists(login_stage) == "started"
    await login_stage.cancel()
    await login_stage.until("ACTIVITY_TASK_CANCEL_REQUESTED", of=f"{login_stage.run_id}-v1")
    await until(lambda: login_stage.stops)
    assert await status_in_lists(login_stage) == "started"
    check.end()
    assert_canceled(await login_stage.ended())


# An AuthSession for this Run alone.


async def test_a_session_for_one_run_is_made_from_its_input_and_then_gone(play_login: Any):
    stage = await play_login("run-with-a-runtime-session")
    assert stage.outcome.status is RunStatus.COMPLETED
    (create,), (attempt,) = stage.created, stage.inputs
    assert create.auth
    assert (create.auth.new_login_version, create.auth.parameters_key) == (1, FIRST.parameters_key)
    assert create.parent_run_id == f"{stage.run_id}-v1"
    assert attempt.auth
    assert (attempt.auth.ref, attempt.auth.initial_login) == (stage.ref, FIRST)
    assert stage.forgotten == [DeleteStatesInput(project=stage.project, owner=f"~{stage.run_id}")]
    description = await stage.client.get_workflow_handle(create.run_id).describe()
    assert description.typed_search_attributes[visibility.RUN_TYPE] == RunType.AUTH_SESSION_CREATE


async def _cancel(stage: LoginStage, attempt: HeldAttempt) -> None:
    await stage.cancel()
    await stage.until("ACTIVITY_TASK_CANCEL_REQUESTED")
    attempt.end()


async def _terminate(stage: LoginStage, attempt: HeldAttempt) -> None:
    await stage.handle.terminate()
    attempt.end()


async def _fail(_stage: LoginStage, attempt: HeldAttempt) -> None:
    attempt.end(failed(final=True))


@pytest.mark.parametrize("end", [_fail, _cancel, _terminate], ids=["failed", "canceled", "terminated"])
async def test_it_is_gone_however_its_run_ends(login_stage: LoginStage, end: Any):
    attempt = HeldAttempt(login_stage, announced=True)
    await login_stage.serve(attempt)
    await login_stage.start(auth=login_stage.runtime())
    await attempt.began.wait()
    assert (await login_stage.view()).status is AuthSessionStatus.READY
    assert login_stage.forgotten == []
    await end(login_stage, attempt)
    await login_stage.closed()
    assert login_stage.forgotten == [DeleteStatesInput(project=login_stage.project, owner=f"~{login_stage.run_id}")]


@pytest.mark.parametrize(
    "shape", ["run-canceled-as-its-validate-is-started", "run-with-a-runtime-session-canceled-with-the-start"]
)
async def test_a_run_canceled_as_its_validate_starts_makes_no_attempt(play_login: Any, shape: str):
    stage = await play_login(shape)
    assert_canceled(stage.outcome)
    assert (stage.outcome.attempts, stage.created, stage.inputs) == (0, [], [])
    if "runtime" in shape:
        assert stage.checked == []
        assert stage.forgotten == [DeleteStatesInput(project=stage.project, owner=f"~{stage.run_id}")]


async def test_it_is_gone_also_if_its_run_ends_while_it_is_removing_states(login_stage: LoginStage):
    attempt, removed = HeldAttempt(login_stage), asyncio.Event()

    async def slowly(input: DeleteStatesInput) -> None:
        if input.keys:
            await removed.wait()

    login_stage.on_forget = slowly
    await login_stage.serve(attempt)
    await login_stage.start(auth=login_stage.runtime())
    await attempt.began.wait()
    for number in range(20):
        await login_stage.session.signal(names.SAVED_BACK, {"before": "another", "after": f"too-late-{number}"})
    await login_stage.until_forgotten()
    attempt.end(completed())
    await login_stage.ended()
    await login_stage.until("WORKFLOW_EXECUTION_CANCEL_REQUESTED", of=login_stage.session.id)
    removed.set()
    await login_stage.closed()
    assert login_stage.forgotten[-1] == DeleteStatesInput(project=login_stage.project, owner=f"~{login_stage.run_id}")


async def test_a_validate_whose_run_was_terminated_ends_too(login_stage: LoginStage):
    check = HeldAttempt(login_stage, beats=True)
    login_stage.checks.append(check)
    await login_stage.open()
    await login_stage.start(auth=login_stage.auth())
    await check.began.wait()
    await login_stage.handle.terminate()
    with pytest.raises(WorkflowFailureError):
        await login_stage.handle.result()
    assert_canceled(await login_stage.outcome_of(f"{login_stage.run_id}-v1"))
