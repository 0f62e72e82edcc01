"""The course of a run of chaos: load, faults and deploys for a time, then rest, and a look at what is left."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from callboard.machines.keeper_process import processes_of
from callboard.machines.runner import process_tree
from callboard.schemas.workflow.fleet import LEASE_MARGIN, LEASE_TERM
from tests.chaos.deploys import Deploys
from tests.chaos.faults import inflict
from tests.chaos.installation import KEY, RESULTS, Installation, installed
from tests.chaos.jobs import JobLoad
from tests.chaos.load import MEMBERS, MIX, Load
from tests.chaos.memory import Memory
from tests.chaos.observer import Observer
from tests.chaos.receivers import MoodyWebhook, read_bucket
from tests.chaos.record import Left, Record, Sink
from tests.chaos.schedule import CONTROL, WORKERS, plan_faults
from tests.support.polling import until
from tests.support.rest import Rest

_ENDS_WITHIN = 300
"""Seconds within which all Runs have to end when nothing is done to the parts any more."""
_DELIVERED_WITHIN = 120
_GONE_WITHIN = 15
_PROGRESS_EVERY = 30
_NO_RECORD = re.compile(r"Run (\S+), Attempt (\d+): no record")


@dataclass(frozen=True)
class Course:
    """What is done. The same seed gives the same faults, deploys and kinds of Runs, but not the same moments."""

    seed: int
    seconds: float = 300
    fault_every: float = 10
    """Mean number of seconds between two faults."""
    deploy_every: float = 60
    clients: int = 24
    """How many Runs without logins are under way at the same time. Beside them is a quarter of that with logins, and a
    JobRun."""


async def execute(course: Course, folder: Path, report: Callable[[str], None]) -> Record:
    """Do all of it in an empty folder, and return what was seen."""
    chance = random.Random(course.seed)
    exchange = folder / "exchange"
    restarts: list[str] = []
    faults: list[str] = []

    def report_restart(line: str) -> None:
        restarts.append(line.partition(" and is restarted")[0])

    def report_fault(line: str) -> None:
        faults.append(line)
        report(line)

    async with AsyncExitStack() as resources:
        observer = resources.enter_context(Observer(exchange))
        webhook = await resources.enter_async_context(MoodyWebhook.up(chance.getrandbits(32)))
        installation = await resources.enter_async_context(installed(folder / "installation", exchange, report_restart))
        deploys = Deploys(chance.getrandbits(32), installation, report)
        await deploys.deploy_all()
        sinks: dict[Sink, Any] = {"webhook": {"type": "webhook", "url": webhook.url}, "bucket": _bucket(installation)}
        asking = Rest.of(*installation.apis, key=KEY, comes_again=True)
        rest = await resources.enter_async_context(asking)
        load = Load(chance.getrandbits(32), rest, sinks)
        await load.log_in()
        jobs = JobLoad(rest, sinks["webhook"])
        await jobs.create()
        memory = Memory(installation)
        async with _going_on(memory.keep_measuring()), _going_on(_watch(installation)):
            planned = plan_faults(course.seed, course.seconds, every=course.fault_every)
            report("The load begins.")
            stop = asyncio.Event()
            working = [
                load.keep_starting(MEMBERS if number % 5 == 4 else MIX, stop)
                for number in range(course.clients * 5 // 4)
            ]
            async with (
                _until_ended([*working, jobs.keep_triggering(stop)], stop),
                _going_on(_tell_progress(load, report)),
            ):
                async with _going_on(deploys.keep_deploying(course.deploy_every)):
                    await inflict(planned, course.seconds, installation, report_fault)
                report(f"{len(load.runs)} Runs were accepted. What was begun has to end.")
            await jobs.read_all()
            await load.until_delivered(jobs.runs, _DELIVERED_WITHIN)
        report("Everything is read once more.")
        await load.read_all(jobs.runs)
        listed = await load.list_all()
        await installation.stop(*WORKERS)
        left = Left(leases=await _leases_left(installation))
        await installation.stop(CONTROL)
    observer.look()
    left.executions = observer.living
    left.processes = await _processes_left(folder)
    left.folders = _folders_left(installation)
    return Record(
        seed=course.seed,
        minutes=course.seconds / 60,
        runs=[*load.runs, *jobs.runs],
        job_runs=jobs.job_runs,
        listed=listed,
        unrecorded=_unrecorded(installation),
        refused=[*load.refused, *jobs.refused],
        executions=observer.executions,
        deploys=deploys.done,
        delivered=[*webhook.delivered, *read_bucket(installation.folder / "store" / "buckets" / RESULTS)],
        left=left,
        growth=memory.growth(),
        faults=faults,
        restarts=restarts,
    )


@asynccontextmanager
async def _going_on(work: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Do this beside the block, and stop with it. An error of either ends both."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        yield
        task.cancel()


@asynccontextmanager
async def _until_ended(clients: Iterable[Coroutine[Any, Any, None]], stop: asyncio.Event) -> AsyncGenerator[None]:
    """Let the clients work beside the block, and their last Runs end after it, as far as they do so in time."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(client) for client in clients]
        yield
        stop.set()
        await asyncio.wait(tasks, timeout=_ENDS_WITHIN)
        for task in tasks:
            task.cancel()


async def _watch(installation: Installation) -> None:
    """Wait until a part dies so often that it is not started again; raises StackError."""
    await asyncio.gather(*(part.process.wait_until_given_up() for part in installation.parts.values()))


async def _tell_progress(load: Load, report: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(_PROGRESS_EVERY)
        report(f"{sum(run.told is not None for run in load.runs)} of {len(load.runs)} Runs have ended.")


def _bucket(installation: Installation) -> dict[str, Any]:
    """Return the sink that leads to the bucket for results."""
    return {
        "type": "s3",
        "bucket": RESULTS,
        "region": "us-east-1",
        "accessKeyId": installation.store.access_key,
        "secretAccessKey": installation.store.secret_key,
        "endpoint": installation.store.endpoint,
        "forcePathStyle": True,
    }


async def _leases_left(installation: Installation) -> list[str]:
    """Return the leases that are there although all workers have left, and those of the dead have run out."""
    leases: list[str] = []

    async def has_none() -> bool:
        nonlocal leases
        leases = await installation.leases()
        return not leases

    try:
        await until(has_none, within=(LEASE_TERM + LEASE_MARGIN).total_seconds(), every=1)
    except TimeoutError:
        return leases
    return []


async def _processes_left(folder: Path) -> list[str]:
    """Return the processes that have to do with this folder and do not end."""
    left: list[int] = []

    def has_none() -> bool:
        nonlocal left
        ours = {process.pid for process in psutil.Process().parents()}
        left = [pid for pid in processes_of(folder) if pid not in ours]
        return not left

    try:
        await until(has_none, within=_GONE_WITHIN, every=0.5)
    except TimeoutError:
        lines = {pid: process_tree.read(f"/proc/{pid}/cmdline") for pid in left if psutil.pid_exists(pid)}
        return [f"{pid} {line.replace(b'\0', b' ').decode(errors='replace')[:200]}" for pid, line in lines.items()]
    return []


def _folders_left(installation: Installation) -> list[str]:
    """Return what workers have in their data folders for Attempts and Machines."""
    return [str(path) for data in installation.workers_data for path in data.glob("workers/*")]


def _unrecorded(installation: Installation) -> list[tuple[str, int]]:
    """Return Run and number of each Attempt that a worker says to have no record of."""
    logs = (part.process.log.read_text(errors="replace") for part in installation.parts.values())
    return [(run_id, int(number)) for log in logs for run_id, number in _NO_RECORD.findall(log)]
