"""Whether a Run has begun: `pending` before, `started` from then on until it ends, and never `pending` again."""

from __future__ import annotations

import asyncio

from temporalio.client import Client

from callboard.schemas.workflow import names
from callboard.schemas.workflow.run import RunStatus
from callboard.temporal.runs import Runs
from tests.support.activity_operations import PendingActivity
from tests.support.auth_stage import FIRST, LoginStage, bad, good
from tests.support.encryption import with_encryption
from tests.support.polling import until
from tests.support.run_stage import HeldAttempt, completed, ends, interrupted
from tests.support.stage import WORKSPACE


async def status(stage: LoginStage, run_id: str | None = None) -> RunStatus:
    return (await Runs(stage.client).get_state(WORKSPACE, stage.project, run_id or stage.run_id)).status


async def standing(stage: LoginStage, run_id: str | None = None) -> tuple[RunStatus, bool]:
    state = await Runs(stage.client).get_state(WORKSPACE, stage.project, run_id or stage.run_id)
    return state.status, state.paused


async def test_a_run_that_no_worker_has_taken_up_is_pending(idle_stage: LoginStage) -> None:
    await idle_stage.start()
    assert await status(idle_stage) is RunStatus.PENDING
    await idle_stage.cancel()
    assert await status(idle_stage) is RunStatus.PENDING


async def test_a_run_whose_queued_attempt_is_paused_is_pending_and_says_so(idle_stage: LoginStage) -> None:
    await idle_stage.serve_runs()
    await idle_stage.start()
    await idle_stage.until("ACTIVITY_TASK_SCHEDULED")
    activity = PendingActivity(idle_stage.client, idle_stage.run_id)
    await activity.pause()
    assert await standing(idle_stage) == (RunStatus.PENDING, True)
    await activity.unpause()
    assert await standing(idle_stage) == (RunStatus.PENDING, False)
    await idle_stage.serve_attempts(ends(completed()))
    await idle_stage.serve_stops()
    assert (await idle_stage.ended()).status is RunStatus.COMPLETED


async def test_a_run_whose_running_attempt_is_to_be_paused_is_started(idle_stage: LoginStage) -> None:
    held = HeldAttempt(idle_stage)
    await idle_stage.serve(held)
    await idle_stage.start()
    await held.began.wait()
    await PendingActivity(idle_stage.client, idle_stage.run_id).pause()
    assert await standing(idle_stage) == (RunStatus.STARTED, False)
    held.end(completed())
    assert (await idle_stage.ended()).status is RunStatus.COMPLETED


@with_encryption
async def test_a_run_whose_attempt_waits_for_room_is_pending(idle_stage: LoginStage) -> None:
    held = HeldAttempt(idle_stage, waits=True)
    await idle_stage.serve(held)
    await idle_stage.start()
    await held.began.wait()
    assert await status(idle_stage) is RunStatus.PENDING
    await idle_stage.announce(1)
    await until(lambda: is_told(idle_stage, RunStatus.STARTED))
    held.end(completed())
    assert (await idle_stage.ended()).status is RunStatus.COMPLETED


async def is_told(stage: LoginStage, wanted: RunStatus) -> bool:
    return await status(stage) is wanted


async def test_a_run_whose_queued_check_is_paused_is_pending_and_says_so(idle_stage: LoginStage) -> None:
    await idle_stage.serve_runs()
    await idle_stage.bring_up()
    await idle_stage.start(auth=idle_stage.auth())
    validate = names.validate_run_id(idle_stage.run_id, 1)
    await idle_stage.until("ACTIVITY_TASK_SCHEDULED", of=validate)
    await PendingActivity(idle_stage.client, validate).pause()
    assert await standing(idle_stage, validate) == (RunStatus.PENDING, True)
    assert await standing(idle_stage) == (RunStatus.PENDING, True)


async def test_a_run_whose_quick_attempt_has_just_ended_is_started(idle_stage: LoginStage) -> None:
    held = HeldAttempt(idle_stage)
    await idle_stage.serve(held)
    await idle_stage.start()
    await held.began.wait()
    await idle_stage.stop_serving_runs()
    held.end(completed())
    await idle_stage.until("ACTIVITY_TASK_COMPLETED")
    assert await status(idle_stage) is RunStatus.STARTED


async def test_a_run_whose_loss_is_being_recorded_is_started(idle_stage: LoginStage) -> None:
    recorded = asyncio.Event()

    async def slowly(_lost: object) -> None:
        await recorded.wait()

    idle_stage.on_lost = slowly
    await idle_stage.serve(interrupted(), ends(completed()))
    await idle_stage.start()
    await idle_stage.until("ACTIVITY_TASK_SCHEDULED", 2)
    assert await status(idle_stage) is RunStatus.STARTED
    recorded.set()
    await idle_stage.ended()


async def test_a_run_is_started_as_soon_as_a_check_is_on_a_machine(idle_stage: LoginStage) -> None:
    check = idle_stage.hold(idle_stage.checks)
    await idle_stage.serve_runs()
    await idle_stage.bring_up()
    await idle_stage.start(auth=idle_stage.auth())
    validate = names.validate_run_id(idle_stage.run_id, 1)
    await idle_stage.until("ACTIVITY_TASK_SCHEDULED", of=validate)
    assert (await status(idle_stage), await status(idle_stage, validate)) == (RunStatus.PENDING, RunStatus.PENDING)
    await idle_stage.serve_attempts()
    await check.began.wait()
    # The check has said nothing: that it is on a Machine is seen from its activity.
    assert (await status(idle_stage), await status(idle_stage, validate)) == (RunStatus.STARTED, RunStatus.STARTED)
    await idle_stage.stop_serving_runs()
    check.end(good())
    await idle_stage.until("ACTIVITY_TASK_COMPLETED", of=validate)
    assert (await status(idle_stage), await status(idle_stage, validate)) == (RunStatus.STARTED, RunStatus.STARTED)


async def test_a_run_whose_validate_has_just_ended_is_started(idle_stage: LoginStage) -> None:
    check = idle_stage.hold(idle_stage.checks)
    await idle_stage.open()
    await idle_stage.start(auth=idle_stage.auth())
    await check.began.wait()
    # What happens while a task of the Run is on its way to a worker that stops is not in the history for ten seconds.
    await idle_stage.until("WORKFLOW_TASK_COMPLETED", 2)
    await idle_stage.stop_serving_runs()
    await idle_stage.client.get_workflow_handle(names.validate_run_id(idle_stage.run_id, 1)).terminate()
    assert await status(idle_stage) is RunStatus.STARTED
    await idle_stage.until("CHILD_WORKFLOW_EXECUTION_TERMINATED")
    assert await status(idle_stage) is RunStatus.STARTED
    check.end()


@with_encryption
async def test_a_run_that_waits_for_a_create_is_started(idle_stage: LoginStage) -> None:
    create = HeldAttempt(idle_stage)
    idle_stage.checks.append(ends(bad(FIRST)))
    idle_stage.creates.append(create)
    await idle_stage.open()
    await idle_stage.start(auth=idle_stage.auth(check_attempts=1))
    await create.began.wait()
    assert await status(idle_stage) is RunStatus.STARTED
    assert await status(idle_stage, idle_stage.created[0].run_id) is RunStatus.STARTED
    create.end()


async def test_a_run_that_brings_its_own_auth_session_into_being_is_pending(client: Client, name: str) -> None:
    async with LoginStage(client, name) as stage:

        async def stop_serving() -> None:
            # Not waited for here, where the worker is about to send what comes of its step.
            stopping.append(asyncio.create_task(stage.stop_serving_runs()))

        stopping: list[asyncio.Task[None]] = []
        stage.as_it_sends('"view"', stop_serving)
        await stage.serve_runs()
        await stage.start(auth=stage.runtime())
        await stage.until("CHILD_WORKFLOW_EXECUTION_STARTED")
        await asyncio.gather(*stopping)
        assert await status(stage) is RunStatus.PENDING
