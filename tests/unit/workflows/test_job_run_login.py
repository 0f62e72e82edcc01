"""A JobRun whose project logs in: its AuthSession is validated first, and may break while Runs are executed."""

import pytest
from temporalio.exceptions import ApplicationError

from callboard.schemas.workflow import names
from callboard.schemas.workflow.job_run import (
    AUTH_SESSION_NOT_FOUND,
    NOT_READY,
    AwaitAuthSessionInput,
    JobItemsMode,
    JobRunPlan,
    JobRunReasonType,
    JobRunStatus,
)
from tests.support.job_run_stage import BAD, GOOD, JobRunStage, auth, one_by_one, progress, returns
from tests.support.polling import until
from tests.support.present import present

BROKEN = progress(total=3, next=2, in_flight=(1,), failed=1, shards=1)
DRAINED = progress(total=3, next=2, failed=2, shards=2)


@pytest.fixture(autouse=True)
def logs_in(job_run: JobRunStage) -> None:
    job_run.plan_with(auth=auth(GOOD))


async def never_mended(_input: AwaitAuthSessionInput) -> None:
    raise ApplicationError("It has no other login yet.", type=NOT_READY)


async def test_the_auth_session_is_validated_before_the_first_run(job_run: JobRunStage):
    await job_run.start()
    assert (await job_run.ended()).status is JobRunStatus.SUCCESS
    validate = names.validate_run_id(job_run.job_run_id, 1)
    assert (await job_run.client.get_workflow_handle(validate).result())["status"] == "completed"


async def test_a_login_that_is_not_good_keeps_all_runs_from_starting(job_run: JobRunStage):
    job_run.plan_with(auth=auth(BAD))
    await job_run.start()
    view = await job_run.ended()
    assert view.status is JobRunStatus.CANCELED
    assert view.reason is not None
    assert view.reason.type is JobRunReasonType.VALIDATE_FAILED
    assert view.reason.details is not None
    assert view.reason.details["validateRunId"] == names.validate_run_id(job_run.job_run_id, 1)
    assert view.reason.details["error"]["code"] == "check-attempts-failed"
    assert job_run.pieces == []
    assert len(job_run.releases) == 1


async def test_a_job_run_whose_auth_session_does_not_exist_is_canceled(job_run: JobRunStage):
    async def is_missing(_plan: JobRunPlan) -> JobRunPlan:
        raise ApplicationError("There is no such AuthSession.", type=AUTH_SESSION_NOT_FOUND, non_retryable=True)

    job_run.on_prepare = is_missing
    await job_run.start()
    view = await job_run.ended()
    assert (view.status, view.version) == (JobRunStatus.CANCELED, None)
    assert present(view.reason).type is JobRunReasonType.AUTH_SESSION_NOT_FOUND
    assert len(job_run.releases) == 1


async def test_a_login_that_breaks_pauses_the_job_run_until_there_is_another(job_run: JobRunStage):
    is_mended = False

    async def mended_later(_input: AwaitAuthSessionInput) -> None:
        if not is_mended:
            await never_mended(_input)

    job_run.on_await = mended_later
    await job_run.start(returns(BROKEN, is_login_bad=True, bad_login=7), returns(DRAINED), one_by_one)
    view = await job_run.until_status(JobRunStatus.PAUSED)
    assert view.progress == DRAINED
    assert present(view.reason).type is JobRunReasonType.AUTH_SESSION_INVALID
    assert job_run.pieces[1].mode is JobItemsMode.DRAIN
    await until(lambda: len(job_run.awaits) > 1)
    assert {input.bad_login for input in job_run.awaits} == {7}
    is_mended = True
    view = await job_run.ended()
    assert (view.status, view.reason) == (JobRunStatus.SUCCESS, None)
    assert view.progress == progress(total=3, next=3, succeeded=1, failed=2, shards=3)
    assert job_run.pieces[2].is_first


async def test_somebody_can_resume_it_without_another_login(job_run: JobRunStage):
    job_run.on_await = never_mended
    await job_run.start(returns(BROKEN, is_login_bad=True), returns(DRAINED), one_by_one)
    await job_run.until_status(JobRunStatus.PAUSED)
    await job_run.signal(names.RESUME_JOB_RUN)
    assert (await job_run.ended()).status is JobRunStatus.SUCCESS


async def test_one_that_somebody_has_paused_too_does_not_go_on_by_itself(job_run: JobRunStage):
    job_run.on_await = never_mended
    await job_run.start(returns(BROKEN, is_login_bad=True), returns(DRAINED), one_by_one)
    await job_run.until_status(JobRunStatus.PAUSED)
    await job_run.signal(names.PAUSE_JOB_RUN)
    await until(job_run.view, true=lambda view: view.reason and view.reason.type is JobRunReasonType.USER_REQUEST)
    await until(job_run.handle.describe, true=lambda waits: not waits.raw_description.pending_activities)
    assert (await job_run.view()).status is JobRunStatus.PAUSED
    await job_run.signal(names.TERMINATE_JOB_RUN)
    assert (await job_run.ended()).status is JobRunStatus.TERMINATED


async def test_one_that_waits_for_a_login_can_be_terminated(job_run: JobRunStage):
    job_run.on_await = never_mended
    await job_run.start(returns(BROKEN, is_login_bad=True), returns(DRAINED))
    await job_run.until_status(JobRunStatus.PAUSED)
    await job_run.signal(names.TERMINATE_JOB_RUN)
    view = await job_run.ended()
    assert (view.status, view.progress) == (JobRunStatus.TERMINATED, DRAINED)
