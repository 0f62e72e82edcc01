"""Several workers share a project: one sequences Runs, the others execute Attempts, each with its share of Machines."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta

import psutil

from callboard.schemas.workflow.run import RunStatus
from tests.support.installation import Installation
from tests.support.polling import until


async def test_each_worker_takes_its_share_and_control_needs_no_machine(installation: Installation) -> None:
    async with AsyncExitStack() as resources:
        control = await installation.worker(resources, "control", "--role=control")
        first = await installation.worker(resources, "first", "--role=browser", "--machines=1", "--project=shared")
        second = await installation.worker(resources, "second", "--role=browser", "--machines=1")
        idle = await installation.worker(resources, "idle", "--role=browser", "--project=another")
        for n in range(3):
            await installation.start(f"run-{n}", n)
        await until(lambda: installation.begun == 2)
        assert [len(psutil.Process(each.process.pid).children()) for each in (control, first, second, idle)] == [
            0,
            1,
            1,
            0,
        ]
        assert installation.begun == 2
        (installation.folder / "go").touch()
        for n in range(3):
            state = await installation.runs.get_state("w", "shared", f"run-{n}", wait=timedelta(seconds=60))
            assert state.status is RunStatus.COMPLETED

        (project,) = (await installation.fleet())["projects"]
        assert (project["held"], sorted(project["workers"].values()), project["missing"]) == (2, [1, 1], 0)
