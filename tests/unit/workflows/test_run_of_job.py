"""A Run of a JobRun: its place in line, and its end with that of the JobRun."""

from callboard.schemas.workflow import names
from callboard.schemas.workflow.run import ReasonType, RunJob, RunStatus
from tests.support.present import present
from tests.support.run_stage import HeldAttempt, RunStage, completed, ends, failed

JOB = RunJob(job_id="nightly", job_run_id=names.job_run_id("r" * names.JOB_RUN_TOKEN_LENGTH))


async def test_it_is_canceled_with_its_job_run_and_says_why(stage: RunStage):
    held = HeldAttempt(stage, beats=True)
    await stage.serve(held)
    await stage.start(job=JOB)
    await held.began.wait()
    await stage.handle.signal(names.JOB_RUN_TERMINATED)
    outcome = await stage.ended()
    assert outcome.status is RunStatus.CANCELED
    assert present(outcome.reason).type is ReasonType.JOB_RUN_TERMINATED
    assert outcome.ended_at is not None


async def test_a_cancel_by_somebody_stays_one_when_its_job_run_is_terminated_too(stage: RunStage):
    held = HeldAttempt(stage)
    await stage.serve(held)
    await stage.start(job=JOB)
    await held.began.wait()
    await stage.cancel()
    await stage.until("ACTIVITY_TASK_CANCEL_REQUESTED")
    await stage.handle.signal(names.JOB_RUN_TERMINATED)
    held.end()
    outcome = await stage.ended()
    assert present(outcome.reason).type is ReasonType.CANCELLED_USER_ACTION


async def test_its_attempts_know_the_job_run_and_the_first_gives_way_to_others(stage: RunStage):
    await stage.serve(ends(failed()), ends(completed()))
    await stage.start(job=JOB)
    assert (await stage.ended()).status is RunStatus.COMPLETED
    assert [attempt.job for attempt in stage.inputs] == [JOB, JOB]
    scheduled = [
        event.activity_task_scheduled_event_attributes.priority
        for event in await stage.events()
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    first, second = scheduled
    assert (first.priority_key, first.fairness_key) == (names.PRIORITY_BATCH, JOB.job_run_id)
    assert second.priority_key == names.PRIORITY_STARTED
