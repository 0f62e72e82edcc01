"""A JobRun executes its items piece by piece, and can be paused, resumed and terminated at any moment."""

from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from activities.heartbeat import SHORT_INTERVAL
from callboard.schemas.workflow import names
from callboard.schemas.workflow.delivery import DeliverInput
from callboard.schemas.workflow.job_run import (
    JobItemsMode,
    JobLockInput,
    JobLockResult,
    JobRunProgress,
    JobRunReasonType,
    JobRunStatus,
)
from tests.support.job_run_stage import HeldPiece, JobRunStage, one_by_one, progress, raises, receiver, returns
from tests.support.polling import until
from tests.support.present import present
from tests.support.run_stage import scheduled
from tests.support.stage import DEADLINE
from tests.support.temporal_servers import skipping_environment

RUN, DRAIN, TERMINATE = JobItemsMode.RUN, JobItemsMode.DRAIN, JobItemsMode.TERMINATE

OTHER = names.job_run_id("o" * names.JOB_RUN_TOKEN_LENGTH)


async def test_each_piece_begins_where_the_one_before_has_come_to(job_run: JobRunStage):
    await job_run.start()
    view = await job_run.ended()
    assert view.progress == progress(total=3, next=3, succeeded=3, shards=3)
    assert [(piece.progress.next, piece.piece, piece.mode) for piece in job_run.pieces] == [
        (number, number + 1, RUN) for number in range(3)
    ]
    assert view.version == job_run.plan.version
    assert present(view.started_at) <= present(view.ended_at)
    lock = JobLockInput(project=job_run.project, job_id="nightly", holder=job_run.job_run_id, definition="d1")
    assert job_run.locks == job_run.releases == [lock]
    delivery = names.delivery_workflow_id(job_run.job_run_id, "notification-1")
    with pytest.raises(RPCError, match="not found"):  # nobody is told who does not want to hear
        await job_run.client.get_workflow_handle(delivery).describe()

    # A lost piece holds up its JobRun for ten seconds at most.
    activities = scheduled([*(await job_run.handle.fetch_history()).events])
    pieces = [activity for activity in activities if activity.activity_type.name == names.EXECUTE_JOB_ITEMS]
    assert len(pieces) == 3
    for piece in pieces:
        silence = piece.heartbeat_timeout.ToTimedelta().total_seconds()
        assert silence + piece.retry_policy.initial_interval.ToTimedelta().total_seconds() < 10
        assert silence > 2 * SHORT_INTERVAL, "one heartbeat may be lost"


@pytest.mark.parametrize(
    ("plan", "script", "ended"),
    [
        (
            *({}, [returns(progress(total=5, next=3, succeeded=3, shards=1)), one_by_one]),  # items were added
            progress(total=5, next=5, succeeded=5, shards=3),
        ),
        ({"payload_count": 10, "max_runs": 2}, [], progress(total=10, next=2, succeeded=2, shards=2)),
        ({"payload_count": 0}, [], progress()),
    ],
    ids=["more-items", "fewer-runs", "no-items"],
)
async def test_pieces_follow_until_all_items_have_ended_or_as_many_as_may(
    job_run: JobRunStage, plan: Any, script: Any, ended: JobRunProgress
):
    job_run.plan_with(**plan)
    await job_run.start(*script)
    assert (await job_run.ended()).progress == ended
    assert job_run.pieces or not ended.total


async def test_a_paused_job_run_shows_each_step(job_run: JobRunStage):
    running = HeldPiece(progress(total=3, next=2, in_flight=(0, 1)))
    draining = HeldPiece(progress(total=3, next=2, succeeded=2, shards=1))
    first = HeldPiece(progress(total=3, next=3, in_flight=(2,), succeeded=2, shards=1))
    await job_run.start(running, draining, first, returns(progress(total=3, next=3, succeeded=3, shards=2)))
    await running.began.wait()
    await job_run.signal(names.PAUSE_JOB_RUN)
    await draining.began.wait()
    view = await job_run.until_status(JobRunStatus.PAUSING)
    assert running.cancelled
    assert view.progress.in_flight == (0, 1)
    assert view.reason is not None
    assert view.reason.type is JobRunReasonType.USER_REQUEST

    draining.end()
    view = await job_run.until_status(JobRunStatus.PAUSED)
    assert view.progress == draining.result.progress

    await job_run.signal(names.RESUME_JOB_RUN)
    await first.began.wait()
    view = await job_run.until_status(JobRunStatus.RESUMING)
    assert view.reason is None

    first.end()
    view = await job_run.ended()
    assert (view.status, view.reason) == (JobRunStatus.SUCCESS, None)
    assert [(piece.mode, piece.is_first) for piece in job_run.pieces] == [
        (RUN, True),
        (DRAIN, False),
        (RUN, True),
        (RUN, False),
    ]


async def test_it_reads_pending_again_once_runs_have_started(job_run: JobRunStage):
    running = HeldPiece(progress(total=3))
    after = HeldPiece(progress(total=3, next=3, succeeded=3))
    await job_run.start(running, returns(progress(total=3, next=1, in_flight=(0,))), after)
    await running.began.wait()
    await job_run.signal(names.PAUSE_JOB_RUN)
    await job_run.until_status(JobRunStatus.PAUSED)
    await job_run.signal(names.RESUME_JOB_RUN)
    await after.began.wait()
    assert (await job_run.view()).status is JobRunStatus.PENDING
    after.end()
    await job_run.ended()


async def test_a_job_run_resumed_while_runs_end_starts_others_at_once(job_run: JobRunStage):
    running = HeldPiece(progress(total=3, next=2, in_flight=(0, 1)))
    draining = HeldPiece(progress(total=3, next=2, in_flight=(1,), succeeded=1, shards=1))
    await job_run.start(running, draining, returns(progress(total=3, next=3, succeeded=3, shards=2)))
    await running.began.wait()
    await job_run.signal(names.PAUSE_JOB_RUN)
    await draining.began.wait()
    await job_run.signal(names.RESUME_JOB_RUN)
    view = await job_run.ended()
    assert draining.cancelled
    assert view.status is JobRunStatus.SUCCESS
    assert job_run.pieces[2].progress == draining.result.progress


async def test_a_terminated_job_run_ends_when_its_runs_have(job_run: JobRunStage):
    running = HeldPiece(progress(total=3, next=2, in_flight=(0, 1)))
    canceling = HeldPiece(progress(total=3, next=2, in_flight=(1,), failed=1, shards=1))
    await job_run.start(running, canceling, returns(progress(total=3, next=2, failed=2, shards=2)))
    await running.began.wait()
    await job_run.signal(names.TERMINATE_JOB_RUN)
    await canceling.began.wait()
    assert (await job_run.handle.describe()).status is WorkflowExecutionStatus.RUNNING
    canceling.end()
    view = await job_run.ended()
    assert view.status is JobRunStatus.TERMINATED
    assert view.progress == progress(total=3, next=2, failed=2, shards=2)
    assert present(view.reason).type is JobRunReasonType.TERMINATED
    assert [(piece.mode, piece.is_first) for piece in job_run.pieces[1:]] == [(TERMINATE, True), (TERMINATE, False)]
    assert len(job_run.releases) == 1


async def test_a_paused_job_run_is_terminated_without_a_further_piece(job_run: JobRunStage):
    running = HeldPiece(progress(total=3, next=1, succeeded=1, shards=1))
    await job_run.start(running)
    await running.began.wait()
    await job_run.signal(names.PAUSE_JOB_RUN)
    await job_run.until_status(JobRunStatus.PAUSED)
    await job_run.signal(names.TERMINATE_JOB_RUN)
    assert (await job_run.ended()).status is JobRunStatus.TERMINATED
    assert len(job_run.pieces) == 1


async def test_a_cancel_request_in_temporal_terminates_a_job_run(job_run: JobRunStage):
    running = HeldPiece(progress(total=3, next=1, in_flight=(0,)))
    await job_run.start(running, one_by_one)
    await running.began.wait()
    await job_run.handle.cancel()
    view = await job_run.ended()
    assert (view.status, view.progress.failed) == (JobRunStatus.TERMINATED, 1)
    assert job_run.pieces[-1].mode is TERMINATE


async def test_when_all_runs_have_ended_a_late_request_changes_nothing(job_run: JobRunStage):
    running = HeldPiece(progress(total=3, next=3, succeeded=3, shards=1))
    await job_run.start(running)
    await running.began.wait()
    await job_run.signal(names.TERMINATE_JOB_RUN)
    view = await job_run.ended()
    assert (view.status, view.reason) == (JobRunStatus.SUCCESS, None)


async def stands_in_line(_input: JobLockInput) -> JobLockResult:
    """What the lock says to a JobRun that is to wait."""
    return JobLockResult(active=OTHER, waits=True)


async def test_while_another_job_run_is_active_none_begins(job_run: JobRunStage):
    async def is_taken(_input: JobLockInput) -> JobLockResult:
        return JobLockResult(active=OTHER)

    job_run.on_lock = is_taken
    await job_run.start()
    view = await job_run.ended()
    assert view.status is JobRunStatus.CANCELED
    assert view.reason is not None
    assert view.reason.type is JobRunReasonType.ANOTHER_JOB_RUN_ACTIVE
    assert view.reason.details == {"jobRunId": OTHER}
    assert (job_run.pieces, job_run.releases) == ([], [])


async def test_a_job_run_that_waits_for_another_one_can_be_terminated(job_run: JobRunStage):
    job_run.on_lock = stands_in_line
    await job_run.start()
    await until(lambda: job_run.locks)
    await job_run.signal(names.TERMINATE_JOB_RUN)
    assert (await job_run.ended()).status is JobRunStatus.TERMINATED
    assert job_run.pieces == []
    assert len(job_run.releases) == 1, "it stands in line no more"


async def test_a_job_run_that_waits_for_another_one_begins_when_its_turn_comes(job_run: JobRunStage):
    job_run.on_lock = stands_in_line
    await job_run.start()
    await until(lambda: job_run.locks)
    assert job_run.pieces == []
    await job_run.signal(names.LOCKED)
    assert (await job_run.ended()).status is JobRunStatus.SUCCESS
    assert len(job_run.locks) == len(job_run.releases) == 1


async def test_a_job_run_that_nobody_tells_of_its_turn_looks_again(name: str):
    """As when the lock was ended in Temporal itself."""
    async with skipping_environment() as environment, JobRunStage(environment.client, name) as stage:
        stage.on_lock = stands_in_line
        await stage.start()
        await until(lambda: stage.locks)
        for looks in (2, 3):
            await environment.sleep(timedelta(minutes=31))
            await until(lambda looks=looks: len(stage.locks) == looks)
        assert stage.pieces == []
        await stage.signal(names.LOCKED)
        await until(lambda: stage.pieces)


async def test_a_piece_lost_at_a_pause_is_told_to_the_next(job_run: JobRunStage):
    lost = raises(RuntimeError("The worker is lost."))
    drained = returns(progress(total=3, next=2, succeeded=2, shards=1))
    await job_run.start(lost, drained, one_by_one)
    await until(  # the piece has failed, and waits for its next try
        job_run.handle.describe,
        DEADLINE,
        true=lambda tried: any(each.HasField("last_failure") for each in tried.raw_description.pending_activities),
    )
    await job_run.signal(names.PAUSE_JOB_RUN)
    view = await job_run.until_status(JobRunStatus.PAUSED)
    assert view.progress.succeeded == 2
    draining = next(piece for piece in job_run.pieces if piece.mode is DRAIN)
    assert draining.follows_lost_piece
    assert draining.progress == progress(total=3)
    assert draining.piece == 2
    await job_run.signal(names.RESUME_JOB_RUN)
    await job_run.ended()
    assert not job_run.pieces[-1].follows_lost_piece


async def test_a_piece_that_fails_for_good_fails_the_job_run(job_run: JobRunStage):
    broken = ApplicationError("The plan is gone.", type="NotPrepared", non_retryable=True)
    await job_run.start(raises(broken))
    view = await job_run.ended()
    assert (view.status, view.error, view.reason) == (JobRunStatus.FAILURE, "The plan is gone.", None)
    assert len(job_run.releases) == 1


async def test_a_long_job_run_goes_on_with_a_fresh_history_and_keeps_everything(job_run: JobRunStage):
    job_run.plan_with(payload_count=30)
    await job_run.start()
    view = await job_run.ended()
    assert view.progress == progress(total=30, next=30, succeeded=30, shards=30)
    assert [piece.piece for piece in job_run.pieces] == list(range(1, 31))
    assert len(job_run.locks) == len(job_run.releases) == 1
    last = await job_run.handle.describe()
    first = last.raw_description.workflow_execution_info.first_run_id
    assert first != last.run_id
    begun = await job_run.client.get_workflow_handle(job_run.job_run_id, run_id=first).describe()
    assert begun.status is WorkflowExecutionStatus.CONTINUED_AS_NEW
    assert view.started_at == begun.start_time
    assert last.typed_search_attributes == begun.typed_search_attributes.updated(
        *[pair for pair in last.typed_search_attributes if pair.key.name == names.SEARCH_STATUS]
    )


async def test_a_pause_outlives_continuing_as_new_while_runs_end(job_run: JobRunStage):
    running = HeldPiece(progress(total=3, next=2, in_flight=(0, 1)))
    still = progress(total=3, next=2, in_flight=(1,), succeeded=1, shards=1)
    await job_run.start(
        running, *[returns(still)] * 15, returns(progress(total=3, next=2, succeeded=2, shards=2)), one_by_one
    )
    await running.began.wait()
    await job_run.signal(names.PAUSE_JOB_RUN)
    view = await job_run.until_status(JobRunStatus.PAUSED)
    assert view.reason is not None
    last = await job_run.handle.describe()
    assert last.run_id != last.raw_description.workflow_execution_info.first_run_id
    assert {piece.mode for piece in job_run.pieces[1:]} == {DRAIN}
    await job_run.signal(names.RESUME_JOB_RUN)
    assert (await job_run.ended()).progress.succeeded == 3


@pytest.mark.parametrize("ending", [one_by_one, raises(ApplicationError("It broke.", non_retryable=True))])
async def test_receivers_are_told_of_the_end(job_run: JobRunStage, ending: object):
    job_run.plan_with(notifications=(receiver(), receiver()))
    await job_run.start(ending)  # type: ignore[arg-type]
    await job_run.ended()
    for number in (1, 2):
        delivery_id = f"notification-{number}"
        handle = job_run.client.get_workflow_handle(names.delivery_workflow_id(job_run.job_run_id, delivery_id))
        async for event in handle.fetch_history_events(page_size=1):
            payloads = event.workflow_execution_started_event_attributes.input.payloads
            (delivery,) = await job_run.client.data_converter.decode(payloads, [DeliverInput])
            assert isinstance(delivery, DeliverInput)
            assert delivery.is_notification
            assert (delivery.run_id, delivery.delivery_id) == (job_run.job_run_id, delivery_id)
            break
        await handle.terminate()
