"""A worker that starts speaks for those that died on its host."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client

from activities.artifact_sweeper import ArtifactSweeper
from activities.artifacts import ArtifactActivities
from activities.attempts.attempt_records import AttemptRecords
from activities.workers.crash_recovery import recover_dead_workers
from activities.workers.worker_dir import JournalEntry
from schemas.workflow.attempt import AttemptRecord, AttemptStatus
from schemas.workflow.base import JsonRef
from schemas.workflow.run import RunStatus
from storage.folder import FolderStore
from tests.support.activity_operations import PendingActivity
from tests.support.dying_worker import DyingWorker
from tests.support.run_stage import Gone, HeldAttempt, Stage, completed, ends


async def test_a_run_goes_on_as_soon_as_its_worker_is_known_to_be_dead(
    client: Client, stage: Stage, tmp_path: Path
) -> None:
    gone = Gone(stage, announced=True)
    await stage.serve(gone, ends(completed()))
    await stage.start()
    await gone.began.wait()
    worker = await DyingWorker.start(tmp_path / "workers" / "one", JournalEntry(stage.run_id, 1, gone.token))
    try:
        worker.die()
        await recover_dead_workers(client, tmp_path / "workers")
        outcome = await stage.ended()  # within seconds: the heartbeat would have told it after 30
        assert (outcome.status, outcome.attempts) == (RunStatus.COMPLETED, 2)
        assert [lost.cause for lost in stage.lost] == ["The worker that ran the Attempt was lost."]
        async with asyncio.timeout(10):  # it was killed; the kernel carries that out
            while worker.machine_lives:
                await asyncio.sleep(0.01)
        assert list((tmp_path / "workers").iterdir()) == []
    finally:
        worker.end()


async def test_what_it_had_stored_of_an_outcome_before_it_was_killed_stands(
    client: Client, stage: Stage, tmp_path: Path
) -> None:
    gone = Gone(stage, announced=True)
    await stage.serve(gone)
    store = FolderStore(tmp_path / "artifacts")
    records = AttemptRecords(store, client.data_converter)
    stage.on_lost = ArtifactActivities(store, records, ArtifactSweeper(client, store)).record_interrupted
    await stage.start(maximum_attempts=1)
    await gone.began.wait()
    worker = await DyingWorker.start(tmp_path / "workers" / "one", JournalEntry(stage.run_id, 1, gone.token))
    try:
        record = AttemptRecord(
            run_id=stage.run_id,
            number=1,
            status=AttemptStatus.COMPLETED,
            execution_id=(await stage.handle.describe()).run_id,
        )
        await records.write(stage.project, record, completed('"stored"'), within=timedelta(seconds=5))
        worker.die()
        await recover_dead_workers(client, tmp_path / "workers")
        outcome = await stage.ended()
    finally:
        worker.end()
    assert outcome.status is RunStatus.COMPLETED
    assert outcome.result == JsonRef(text='"stored"', size=8)
    known = await records.read(stage.project, stage.run_id, 1)
    assert known is not None
    assert known.status is AttemptStatus.COMPLETED


async def test_a_run_whose_attempt_was_paused_goes_on_as_well(client: Client, stage: Stage, tmp_path: Path) -> None:
    gone = Gone(stage, announced=True)
    await stage.serve(gone, ends(completed()))
    await stage.start()
    await gone.began.wait()
    await PendingActivity(client, stage.run_id).pause()
    worker = await DyingWorker.start(tmp_path / "workers" / "one", JournalEntry(stage.run_id, 1, gone.token))
    try:
        worker.die()
        await recover_dead_workers(client, tmp_path / "workers")
        outcome = await stage.ended()
        assert (outcome.status, outcome.attempts) == (RunStatus.COMPLETED, 2)
    finally:
        worker.end()


async def test_a_run_that_is_being_canceled_ends(client: Client, stage: Stage, tmp_path: Path) -> None:
    gone = Gone(stage)
    await stage.serve(gone)
    await stage.start()
    await gone.began.wait()
    worker = await DyingWorker.start(tmp_path / "workers" / "one", JournalEntry(stage.run_id, 1, gone.token))
    try:
        worker.die()
        await stage.cancel()
        await stage.until("ACTIVITY_TASK_CANCEL_REQUESTED")
        await recover_dead_workers(client, tmp_path / "workers")
        assert (await stage.ended()).status is RunStatus.CANCELED
    finally:
        worker.end()


async def test_recovery_passes_over_attempts_unknown_to_temporal(client: Client, stage: Stage, tmp_path: Path) -> None:
    """Its Run is over, or has gone on to another Attempt, or never was; the one that comes after is told."""
    over, gone = HeldAttempt(stage), Gone(stage)
    over.end(completed())
    await stage.serve(over)
    await stage.start()
    await stage.ended()
    async with Stage(client, f"{stage.project}-2") as second:
        await second.serve(gone, ends(completed()))
        await second.start()
        await gone.began.wait()
        attempts = [
            JournalEntry(stage.run_id, 1, over.token),
            JournalEntry("nobody", 1, b"no token of Temporal's"),
            JournalEntry(second.run_id, 1, gone.token),
        ]
        worker = await DyingWorker.start(tmp_path / "workers" / "one", *attempts)
        try:
            worker.die()
            await recover_dead_workers(client, tmp_path / "workers")
            assert (await second.ended()).attempts == 2
        finally:
            worker.end()


@pytest.mark.parametrize("there", [True, False])
async def test_without_dead_workers_there_is_nothing_to_do(client: Client, tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "workers"
    if there:
        folder.mkdir()
    await recover_dead_workers(client, folder)
