"""A worker that starts speaks for those that died on its host."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from temporalio.client import Client

from activities.predecessors import bury
from contract.flow.run import RunStatus
from tests.activities.dying import DyingWorker
from tests.workflows.scripted import Gone, Stage, completed, ends


async def test_a_run_goes_on_as_soon_as_its_worker_is_known_to_be_dead(
    client: Client, stage: Stage, tmp_path: Path
) -> None:
    gone = Gone(stage, announced=True)
    await stage.serve(gone, ends(completed()))
    await stage.start()
    await gone.began.wait()
    worker = await DyingWorker.start(tmp_path / "one", json.dumps([(stage.run_id, 1)]))
    try:
        worker.die()
        await bury(client, tmp_path)
        outcome = await stage.ended()  # within seconds: the heartbeat would have told it after 30
        assert (outcome.status, outcome.attempts) == (RunStatus.COMPLETED, 2)
        assert [lost.cause for lost in stage.lost] == ["The worker that ran the Attempt was lost."]
        async with asyncio.timeout(10):  # it was killed; the kernel carries that out
            while worker.machine_lives:
                await asyncio.sleep(0.01)
        assert list(tmp_path.iterdir()) == []
    finally:
        worker.end()


async def test_a_run_that_is_being_canceled_ends(client: Client, stage: Stage, tmp_path: Path) -> None:
    gone = Gone(stage)
    await stage.serve(gone)
    await stage.start()
    await gone.began.wait()
    worker = await DyingWorker.start(tmp_path / "one", json.dumps([(stage.run_id, 1)]))
    try:
        worker.die()
        await stage.cancel()
        await stage.until("ACTIVITY_TASK_CANCEL_REQUESTED")
        await bury(client, tmp_path)
        assert (await stage.ended()).status is RunStatus.CANCELED
    finally:
        worker.end()


async def test_an_attempt_of_which_temporal_knows_nothing_any_more_holds_up_nothing(
    client: Client, stage: Stage, tmp_path: Path
) -> None:
    """Its Run is over, or has gone on to another Attempt, or never was; the one that comes after is told."""
    gone = Gone(stage)
    await stage.serve(ends(completed()))
    await stage.start()
    await stage.ended()
    async with Stage(client, f"{stage.project}-2") as second:
        await second.serve(gone, ends(completed()))
        await second.start()
        await gone.began.wait()
        attempts = [(stage.run_id, 1), ("nobody", 1), (second.run_id, 7), (second.run_id, 1)]
        worker = await DyingWorker.start(tmp_path / "one", json.dumps(attempts))
        try:
            worker.die()
            await bury(client, tmp_path)
            assert (await second.ended()).attempts == 2
        finally:
            worker.end()


@pytest.mark.parametrize("there", [True, False])
async def test_without_dead_workers_there_is_nothing_to_do(client: Client, tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "workers"
    if there:
        folder.mkdir()
    await bury(client, folder)
