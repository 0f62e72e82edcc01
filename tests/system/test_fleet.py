"""Workers of several hosts together never execute more Attempts of a project than it may have Machines."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, Container
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

from callboard.schemas.workflow.fleet import LEASE_MARGIN, LEASE_TERM
from callboard.schemas.workflow.run import QUEUE_TIMED_OUT, RunStatus
from callboard.temporal.fleet import FleetClient
from callboard.temporal.fleet_view import describe_fleet
from tests.support.constants import SOMEBODY
from tests.support.installation import Installation, Part
from tests.support.polling import until

MACHINES = 2
TWO = {"CALLBOARD_CAPACITY": "2", "CALLBOARD_DRAIN": "1"}
"""Environment of a worker with room for two Machines."""
PATIENCE = (LEASE_TERM + LEASE_MARGIN).total_seconds() + 40


class Watch:
    """What was executed at the same time, as looked at again and again."""

    def __init__(self) -> None:
        self.most = 0
        self.seen: set[str] = set()


@asynccontextmanager
async def watched(installation: Installation) -> AsyncGenerator[Watch]:
    """Look all the time at what is executed."""
    watch = Watch()

    async def look() -> None:
        while True:
            executed = installation.executed
            watch.most = max(watch.most, len(executed))
            watch.seen.update(executed)
            await asyncio.sleep(0.05)

    looking = asyncio.create_task(look())
    try:
        yield watch
    finally:
        assert not looking.done(), looking
        looking.cancel()
        await asyncio.wait({looking})


async def until_executed(installation: Installation, count: int, *, besides: Container[str] = ()) -> None:
    """Wait until so many Attempts are executed, not counting these."""

    def executed() -> int:
        return sum(attempt not in besides for attempt in installation.executed)

    await until(lambda: executed() == count, within=PATIENCE, every=0.05)


async def has_members(installation: Installation, count: int) -> bool:
    state = await FleetClient(installation.client).read_state()
    return len(describe_fleet(state, datetime.now(UTC), {}).workers) == count


async def given_back_by(installation: Installation, worker: Part) -> bool:
    """Tell whether the lease of this worker has been given back."""
    state = await FleetClient(installation.client).read_state()
    return any(f"-{worker.process.pid}-" in name for name in state.left)


async def start_runs(installation: Installation, count: int) -> None:
    for n in range(count):
        await installation.start(f"run-{n}", n, api="alive", maximum_attempts=3)


async def test_a_run_that_waits_for_room_is_pending_and_has_a_queue_timeout(
    installation: Installation,
) -> None:
    """The worker has room for one Machine, and two projects have one each."""
    await installation.publish(1)
    await installation.start("run-0", 0)
    await installation.publish(1, "other")

    async def status(run_id: str, *, wait: float = 0, project: str = "other") -> RunStatus:
        state = await installation.runs.get_state("w", project, run_id, wait=timedelta(seconds=wait))
        return state.status

    async with AsyncExitStack() as resources:
        await installation.worker(resources, "only", CALLBOARD_CAPACITY="1")
        await until(lambda: installation.begun == 1, within=PATIENCE)
        await installation.start("run-1", 1, project="other", queue_timeout=timedelta(seconds=4))
        await until(lambda: _is_taken(installation, "run-1"))
        assert await status("run-1") is RunStatus.PENDING
        state = await installation.runs.get_state("w", "other", "run-1", wait=timedelta(seconds=PATIENCE))
        assert (state.status, state.outcome and state.outcome.error) == (RunStatus.FAILED, QUEUE_TIMED_OUT)
        await installation.start("run-2", 2, project="other")
        await until(lambda: _is_taken(installation, "run-2"))
        await installation.runs.cancel("w", "other", "run-2", by=SOMEBODY)
        assert await status("run-2", wait=PATIENCE) is RunStatus.CANCELED
        await installation.start("run-3", 3, project="other")
        await until(lambda: _is_taken(installation, "run-3"))
        assert installation.begun == 1
        (installation.folder / "go").touch()
        assert await status("run-3", wait=PATIENCE) is RunStatus.COMPLETED
        assert await status("run-0", wait=PATIENCE, project="shared") is RunStatus.COMPLETED


async def _is_taken(installation: Installation, run_id: str) -> bool:
    """Tell whether a worker has said that it has no room for the Run's Attempt yet."""
    description = await installation.client.get_workflow_handle(run_id).describe()
    return any(activity.heartbeat_details.payloads for activity in description.raw_description.pending_activities)


async def all_complete(installation: Installation, count: int) -> None:
    (installation.folder / "go").touch()
    for n in range(count):
        state = await installation.runs.get_state("w", "shared", f"run-{n}", wait=timedelta(seconds=PATIENCE))
        assert state.status is RunStatus.COMPLETED


async def test_attempts_of_a_frozen_worker_end_before_another_repeats_them(
    installation: Installation,
) -> None:
    async with AsyncExitStack() as resources:
        first = await installation.worker(resources, "first", **TWO)
        await start_runs(installation, 4)
        await until_executed(installation, MACHINES)
        await installation.worker(resources, "second", **TWO)
        watch = await resources.enter_async_context(watched(installation))
        first.process.send_signal(signal.SIGSTOP)
        before = set(installation.executed)
        # The worker cannot end them, so their keepers do.
        await until(lambda: not before & set(installation.executed), within=PATIENCE, every=0.05)
        await until_executed(installation, MACHINES, besides=before)
        first.process.send_signal(signal.SIGCONT)
        await until(lambda: first.says("lease of its Machines has ended"))
        await until(lambda: has_members(installation, 2), every=0.2)  # it has asked for another lease
        assert len(installation.executed) == MACHINES
        await all_complete(installation, 4)
        assert watch.most == MACHINES


async def test_machines_of_a_killed_worker_are_freed_once_its_death_is_known(installation: Installation) -> None:
    async with AsyncExitStack() as resources:
        first = await installation.worker(resources, "first", **TWO)
        await start_runs(installation, 4)
        await until_executed(installation, MACHINES)
        watch = await resources.enter_async_context(watched(installation))
        second = await installation.worker(resources, "second", **TWO)
        first.process.kill()
        before = set(watch.seen)
        await until(lambda: installation.executed == [], within=20, every=0.05)
        (project,) = (await installation.fleet())["projects"]
        assert project["held"] == MACHINES, "what the dead one held is counted, and nothing twice"
        await until_executed(installation, MACHINES, besides=before)
        before = set(watch.seen)
        second.process.kill()
        await installation.worker(resources, "second", **TWO)
        await until(lambda: given_back_by(installation, second), every=0.2)  # nobody waits until its lease runs out
        await until_executed(installation, MACHINES, besides=before)
        await all_complete(installation, 4)
        assert watch.most == MACHINES


async def test_workers_join_and_leave_and_a_deploy_changes_the_number(installation: Installation) -> None:
    async with AsyncExitStack() as resources:
        watch = await resources.enter_async_context(watched(installation))
        async with AsyncExitStack() as soon:
            await installation.worker(soon, "first", **TWO)
            await start_runs(installation, 6)
            await until_executed(installation, MACHINES)
            await installation.worker(resources, "second", **TWO)
            await installation.publish(3)
            await until_executed(installation, 3)
        assert await has_members(installation, 1), "the first has given its lease back"
        await until_executed(installation, 2)
        await installation.worker(resources, "third", **TWO)
        await until_executed(installation, 3)
        shown = await installation.fleet()
        assert sorted(each["machines"] for each in shown["workers"]) == [1, 2]
        (project,) = shown["projects"]
        assert (project["held"], project["machines"], project["missing"]) == (3, 3, 0)
        await all_complete(installation, 6)
        assert watch.most == 3
