"""The Schedule of a running stack removes what Runs left, once it is old enough."""

from __future__ import annotations

import os
import time
from pathlib import Path

from callboard.settings import Settings
from callboard.temporal.client import connect
from tests.support.polling import until
from tests.support.stack import Stack

NINE_DAYS = 9 * 86_400


def grow_old(file: Path) -> None:
    then = time.time() - NINE_DAYS
    os.utime(file, (then, then))


async def test_removes_old_artifacts_and_keeps_those_of_a_run_just_ended(stack: Stack) -> None:
    run_id = await stack.start("echo", {"size": "x" * 40_000})
    assert (await stack.result(run_id))["status"] == "completed"
    runs = stack.data / "artifacts" / "runs" / "lab"
    left = [file for file in (runs / run_id).rglob("*") if file.is_file()]
    assert left
    for file in left:
        grow_old(file)  # its end tells its age, and not these
    forgotten = runs / "forgotten" / "attempts" / "1" / "attempt.json"
    forgotten.parent.mkdir(parents=True)
    forgotten.touch()
    grow_old(forgotten)
    client = await connect(Settings(temporal_address=stack.dev.temporal.address))

    async def completed() -> int:
        return (await client.count_workflows("WorkflowType = 'Sweep' AND ExecutionStatus = 'Completed'")).count

    before = await completed()
    await client.get_schedule_handle("callboard-sweep").trigger()
    await until(lambda: not forgotten.exists())
    await until(completed, true=lambda count: count > before)
    assert not (runs / "forgotten").exists()
    assert all(file.exists() for file in left)
