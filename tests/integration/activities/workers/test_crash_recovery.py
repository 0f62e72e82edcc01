"""A worker that starts speaks for those that died on its host."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client

from activities.artifact_sweeper import ArtifactSweeper
from activities.artifacts import ArtifactActivities
from activities.attempts.attempt_log import LOG_FILE, persist_masking_secrets
from activities.attempts.attempt_records import AttemptRecords
from activities.attempts.log_recovery import LogRecovery
from activities.workers.crash_recovery import recover_dead_workers
from activities.workers.worker_dir import JournalEntry
from machines.transcript import line_of
from schemas.workflow.attempt import AttemptInput, AttemptRecord, AttemptStatus
from schemas.workflow.base import JsonRef
from schemas.workflow.run import RunStatus
from security.keyring import KeyRing
from security.masking import Masker
from storage import keys
from storage.folder import FolderStore
from tests.support.activity_operations import PendingActivity
from tests.support.dying_worker import DyingWorker
from tests.support.run_stage import Gone, HeldAttempt, Stage, completed, ends

KEYS = KeyRing(["the key of this test, long enough"])


def log_recovery(folder: Path) -> LogRecovery:
    return LogRecovery(FolderStore(folder / "artifacts"), KEYS, limit=10_000)


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
        await recover_dead_workers(client, tmp_path / "workers", log_recovery(tmp_path))
        outcome = await stage.ended()  # within seconds: the heartbeat would have told it after 30
        assert (outcome.status, outcome.attempts) == (RunStatus.COMPLETED, 2)
        assert [lost.cause for lost in stage.lost] == ["The worker that ran the Attempt was lost."]
        async with asyncio.timeout(10):  # it was killed; the kernel carries that out
            while worker.machine_lives:
                await asyncio.sleep(0.01)
        assert list((tmp_path / "workers").iterdir()) == []
    finally:
        worker.end()


async def test_what_it_had_logged_is_stored_before_it_is_recorded_what_is_missing(
    client: Client, stage: Stage, tmp_path: Path
) -> None:
    gone = Gone(stage, announced=True)
    await stage.serve(gone, ends(completed()))
    store = FolderStore(tmp_path / "artifacts")
    records = AttemptRecords(store, client.data_converter)
    stage.on_lost = ArtifactActivities(store, records, ArtifactSweeper(client, store)).record_interrupted
    await stage.start()
    await gone.began.wait()
    worker = await DyingWorker.start(tmp_path / "workers" / "one", JournalEntry(stage.run_id, 1, gone.token))
    try:
        worker.die()
        evidence = tmp_path / "workers" / "one" / "evidence" / f"{stage.run_id}-1-x"
        evidence.mkdir()
        input = AttemptInput(
            workspace="w",
            run_id=stage.run_id,
            number=1,
            project=stage.project,
            version="1",
            api="list",
            parameters=JsonRef(text="{}", size=2),
            request_timeout=timedelta(minutes=1),
        )
        persist_masking_secrets(evidence, input, Masker(()), KEYS)
        (evidence / LOG_FILE).write_bytes(line_of("info", "user", "the last words"))
        await recover_dead_workers(client, tmp_path / "workers", log_recovery(tmp_path))
        await stage.ended()
    finally:
        worker.end()
    text = await store.get(keys.log(stage.project, stage.run_id, 1))
    assert text is not None
    assert json.loads(text.splitlines()[0])["message"] == "the last words"
    record = await records.read(stage.project, stage.run_id, 1)
    assert record is not None
    assert (record.status, record.log, sorted(record.missing)) == (
        AttemptStatus.INTERRUPTED,
        True,
        ["screenshot", "trace"],
    )


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
        await recover_dead_workers(client, tmp_path / "workers", log_recovery(tmp_path))
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
        await recover_dead_workers(client, tmp_path / "workers", log_recovery(tmp_path))
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
        await recover_dead_workers(client, tmp_path / "workers", log_recovery(tmp_path))
        assert (await stage.ended()).status is RunStatus.CANCELED
    finally:
        worker.end()


async def test_an_attempt_of_which_temporal_knows_nothing_any_more_holds_up_nothing(
    client: Client, stage: Stage, tmp_path: Path
) -> None:
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
            await recover_dead_workers(client, tmp_path / "workers", log_recovery(tmp_path))
            assert (await second.ended()).attempts == 2
        finally:
            worker.end()


@pytest.mark.parametrize("there", [True, False])
async def test_without_dead_workers_there_is_nothing_to_do(client: Client, tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "workers"
    if there:
        folder.mkdir()
    await recover_dead_workers(client, folder, log_recovery(tmp_path))
