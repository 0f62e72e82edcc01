"""A worker that starts speaks for those that died on its host."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client

from activities.artifacts import ArtifactActivities
from activities.attempts.attempt_artifacts import AttemptRecords
from activities.workers.worker_dir import JournalEntry, recover_dead_workers
from callboard.schemas.workflow.attempt import AttemptKind, AttemptRecord, AttemptStatus
from callboard.schemas.workflow.base import JsonRef
from callboard.schemas.workflow.run import RunStatus
from callboard.settings import Settings
from callboard.storage.folder import FolderStore
from tests.support.activity_operations import PendingActivity
from tests.support.auth_stage import LoginStage
from tests.support.dying_worker import DyingWorker
from tests.support.polling import until
from tests.support.present import present
from tests.support.run_stage import Gone, HeldAttempt, RunStage, completed, ends, scheduled

Kill = Callable[..., Awaitable[DyingWorker]]


@pytest.fixture
def workers(tmp_path: Path) -> Path:
    return tmp_path / "workers"


@pytest.fixture
async def kill(workers: Path) -> AsyncGenerator[Kill]:
    """Start a worker that notes these Attempts, and kill it."""
    killed: list[DyingWorker] = []

    async def kill(*attempts: JournalEntry) -> DyingWorker:
        worker = await DyingWorker.start(workers / "one", *attempts)
        killed.append(worker)
        worker.die()
        return worker

    yield kill
    for worker in killed:
        worker.end()


async def begun(stage: RunStage, *, then: bool = True) -> JournalEntry:
    """Start a Run whose first Attempt is never heard of again, and a second one completes."""
    gone = Gone(stage, announced=True)
    await stage.serve(gone, ends(completed()))
    await stage.start(maximum_attempts=2 if then else 1)
    await gone.began.wait()
    return JournalEntry(stage.run_id, 1, gone.token)


async def test_a_run_goes_on_as_soon_as_its_worker_is_known_to_be_dead(
    client: Client, stage: RunStage, workers: Path, kill: Kill
) -> None:
    worker = await kill(await begun(stage))
    await recover_dead_workers(client, workers)
    outcome = await stage.ended()  # within seconds: the heartbeat would have told it after 30
    assert (outcome.status, outcome.attempts) == (RunStatus.COMPLETED, 2)
    assert [lost.cause for lost in stage.lost] == ["The worker that ran the Attempt was lost."]
    await until(lambda: not worker.machine_lives)  # it was killed; the kernel carries that out
    assert list(workers.iterdir()) == []


async def test_what_it_had_stored_of_an_outcome_before_it_was_killed_stands(
    client: Client, stage: RunStage, workers: Path, kill: Kill, tmp_path: Path
) -> None:
    store = FolderStore(tmp_path / "artifacts")
    records = AttemptRecords(store, client.data_converter)
    stage.on_lost = ArtifactActivities.of(Settings(), client, store).record_interrupted
    noted = await begun(stage, then=False)
    execution_id = (await stage.handle.describe()).run_id
    record = AttemptRecord(run_id=stage.run_id, number=1, status=AttemptStatus.COMPLETED, execution_id=execution_id)
    await records.write(stage.project, record, completed('"stored"'), within=timedelta(seconds=5))
    await kill(noted)
    await recover_dead_workers(client, workers)
    outcome = await stage.ended()
    assert (outcome.status, outcome.result) == (RunStatus.COMPLETED, JsonRef(text='"stored"', size=8))
    assert present(await records.read(stage.project, stage.run_id, 1)).status is AttemptStatus.COMPLETED


async def test_a_run_whose_attempt_was_paused_goes_on_as_well(
    client: Client, stage: RunStage, workers: Path, kill: Kill
) -> None:
    noted = await begun(stage)
    await PendingActivity(client, stage.run_id).pause()
    await kill(noted)
    await recover_dead_workers(client, workers)
    outcome = await stage.ended()
    assert (outcome.status, outcome.attempts) == (RunStatus.COMPLETED, 2)


async def test_a_check_whose_worker_is_dead_is_tried_again_by_temporal(
    client: Client, name: str, workers: Path, kill: Kill
) -> None:
    async with LoginStage(client, name) as stage:
        stage.valid, gone = {1}, Gone(stage)
        stage.checks.append(gone)
        await stage.open()
        await stage.validate()
        await gone.began.wait()
        await kill(JournalEntry(stage.validate_id, 1, gone.token, AttemptKind.CHECK))
        await recover_dead_workers(client, workers)
        assert (await stage.validated()).status is RunStatus.COMPLETED
        assert len(scheduled(await stage.events(stage.validate_id))) == 1
        assert [check.number for check in stage.checked] == [1, 2]


async def test_a_run_that_is_being_canceled_ends(client: Client, stage: RunStage, workers: Path, kill: Kill) -> None:
    gone = Gone(stage)
    await stage.serve(gone)
    await stage.start()
    await gone.began.wait()
    await kill(JournalEntry(stage.run_id, 1, gone.token))
    await stage.cancel()
    await stage.until("ACTIVITY_TASK_CANCEL_REQUESTED")
    await recover_dead_workers(client, workers)
    assert (await stage.ended()).status is RunStatus.CANCELED


async def test_recovery_passes_over_attempts_unknown_to_temporal(
    client: Client, stage: RunStage, workers: Path, kill: Kill
) -> None:
    """Its Run is over, or has gone on to another Attempt, or never was; the one that comes after is told."""
    over = HeldAttempt(stage)
    over.end(completed())
    await stage.serve(over)
    await stage.start()
    await stage.ended()
    unknown = JournalEntry(stage.run_id, 1, over.token), JournalEntry("nobody", 1, b"no token of Temporal's")
    async with RunStage(client, f"{stage.project}-2") as second:
        await kill(*unknown, await begun(second))
        await recover_dead_workers(client, workers)
        assert (await second.ended()).attempts == 2
