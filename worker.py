"""Compose and run a worker process: `python -m worker` (or `callboard worker`)."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from security.inspection import forbid_inspection

if __name__ == "__main__":
    forbid_inspection()  # before the imports that follow: they take a second, and the environment holds secrets

import uvloop
from temporalio.client import Client
from temporalio.worker import (
    PollerBehaviorSimpleMaximum,
    Worker,
)

from activities.attempt import AttemptActivities
from activities.attempts.artifact_uploader import ArtifactUploader
from activities.attempts.attempt_executor import AttemptExecutor
from activities.attempts.attempt_log import LogPolicy
from activities.attempts.attempt_outcomes import AttemptOutcomes
from activities.attempts.attempt_preparation import AttemptPreparation
from activities.attempts.attempt_records import AttemptRecords
from activities.attempts.log_recovery import LogRecovery
from activities.attempts.logins import Logins
from activities.attempts.machine_attempts import MachineAttempts
from activities.attempts.retryable_attempts import RetryableAttempts
from activities.attempts.running_attempts import RunningAttempts
from activities.attempts.runtime_environment import ProjectEnvironments
from activities.attempts.start_signals import StartSignals
from activities.stop_attempt import StopActivities
from activities.workers import crash_recovery, machine_heartbeat, machine_metrics
from activities.workers.delegated_group import delegated_group
from activities.workers.deployed_projects import DeployedProjects
from activities.workers.deployed_resources import DeployedResources
from activities.workers.fleet_member import FleetMember
from activities.workers.machine_pools import MachinePools
from activities.workers.machine_shares import MachineShares
from activities.workers.project_workers import ProjectWorkerManager
from activities.workers.worker_dir import WorkerDir
from control_worker import GRACEFUL_SHUTDOWN_TIMEOUT, delivery_worker, workflow_worker
from machines.browser import browser_args, find_browser
from machines.capacity import Capacity, host_capacity
from machines.isolation import Isolation, Level, find_isolation
from machines.lease import Lease
from machines.machine import LaunchOptions
from machines.network import Network
from machines.reachability import find_reach
from machines.runner.reach import Reach
from machines.sandbox import sandbox_refusal
from machines.slot import RecycleLimits
from machines.trace_redactor import TraceRedactor
from projects.catalog import Catalog
from projects.dotenv import DevFolders
from projects.environments import Environments
from projects.versions import VersionFolders
from schemas.errors import CallboardError, Unavailable
from schemas.workflow import names
from security.keyring import KeyRing
from settings import Settings
from storage.factory import open_store
from storage.store import Store
from telemetry import metrics
from telemetry.health import Liveness
from telemetry.health_server import health_server
from telemetry.logs import configure_logging, log_fatal
from telemetry.runtime import install_runtime
from telemetry.tracing import start_tracing, stop_tracing
from temporal.client import WORKER_HEARTBEAT_INTERVAL, connect
from temporal.connection_config import Connection, find_connection
from temporal.fleet import FleetClient, fleet_worker
from temporal.hard_exit import hard_exit
from temporal.health import TemporalHealth
from temporal.poll_watch import PollWatch, Watch
from temporal.resources import ResourceApplications
from temporal.worker_shutdown import running_worker

log = logging.getLogger("worker")

BackgroundWork = Coroutine[Any, Any, None]
"""Work that the worker has to do for as long as it lives; if it fails, the worker ends."""

_TEMPORAL_TIMEOUT = timedelta(seconds=30)
"""How long the worker tries to connect to Temporal when it starts."""
_CONNECT_INTERVAL = 1.0
"""Seconds between two of these tries."""
_ROUND_TIMEOUT = timedelta(minutes=5)
"""Time after which a part that asks Temporal again and again counts as stuck. Each request is over in seconds."""
_STORE_TIMEOUT = timedelta(minutes=10)
"""Time after which a part that asks the artifact store counts as stuck. A request to a bucket that is away is given up
after 70 seconds."""
_BUCKET_LOG_INTERVAL = timedelta(seconds=3)
"""Time between two pieces of a log that is being written: each is a request that is paid for."""


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serve workflows and all deployed projects until `stop` is set, then drain and leave nothing behind.

    Raises:
        CallboardError: There is no browser, the store cannot be opened, or Temporal cannot be reached at the start.
        RuntimeError: Temporal refuses this worker.
    """
    liveness = Liveness()
    async with health_server(settings.health_address, liveness):
        await _serve(settings, stop, liveness)


async def _serve(settings: Settings, stop: asyncio.Event, liveness: Liveness) -> None:
    identity = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    connection = find_connection(settings)
    store = open_store(settings.artifact_location, endpoint=settings.artifacts_endpoint)
    browser = None if settings.role == "control" else await asyncio.to_thread(find_browser, settings.chromium)
    if browser is not None and (refusal := await asyncio.to_thread(sandbox_refusal, browser)):
        log.warning("Chromium's own sandbox is off: %s. The worker's browsers run without it.", refusal)
    isolation = None if browser is None else await asyncio.to_thread(find_isolation, settings.isolation)
    client = await _connect_to_temporal(settings, connection, identity, stop)
    async with AsyncExitStack() as resources:
        # Resources are released in reverse order: Attempts drain while Runs can still go on and be stopped.
        polls = PollWatch(client, identity)
        resources.enter_context(liveness.watching(polls.problem))
        await resources.enter_async_context(fleet_worker(client, identity, polls.watching))
        catalog = Catalog(store, max_age=settings.poll_versions)
        background: list[BackgroundWork] = []
        if settings.health_address is not None:
            background.append(polls.follow(liveness.pulse("The watch over polls", _ROUND_TIMEOUT).beat))
        if settings.role != "browser":
            await resources.enter_async_context(workflow_worker(settings, client, identity, store, polls.watching))
            await resources.enter_async_context(delivery_worker(settings, client, identity, store, polls.watching))
            deployed = DeployedResources(settings.workspace, catalog, ResourceApplications(client))
            pulse = liveness.pulse("The search for deployed Jobs and AuthSessions", _STORE_TIMEOUT)
            background.append(deployed.follow(settings.poll_versions, pulse.beat))
        if browser is not None and isolation is not None:
            log.log(logging.INFO if isolation.level is Level.FULL else logging.WARNING, "isolation is %s.", isolation)
            background += await _start_attempt_workers(
                resources,
                settings,
                connection,
                client,
                identity,
                store,
                catalog,
                browser,
                isolation,
                liveness,
                polls.watching,
            )
        log.info("worker %s is ready (role: %s)", identity, settings.role)
        try:
            await _run_until_stopped(stop, *background)
        finally:
            liveness.leave()
        log.info("worker %s is leaving", identity)


async def _start_attempt_workers(
    resources: AsyncExitStack,
    settings: Settings,
    connection: Connection,
    client: Client,
    identity: str,
    store: Store,
    catalog: Catalog,
    browser: Path,
    isolation: Isolation,
    liveness: Liveness,
    watch: Watch,
) -> list[BackgroundWork]:
    """Start the Machines and the Temporal workers that use them, and return the background work that goes with them."""
    workers = _folder(settings, "workers")
    keyring = _keyring(settings)
    log_recovery = LogRecovery(store, keyring, limit=settings.log_limit)
    groups = await asyncio.to_thread(delegated_group)
    dead = await crash_recovery.recover_dead_workers(client, workers, log_recovery, groups)
    worker_dir = WorkerDir(workers / identity)
    resources.callback(worker_dir.close)
    reach = await find_reach(settings, temporal_address=connection.address)
    places = settings.capacity or host_capacity()
    log.info("there is room for %d Machine(s) at once", places)
    lease, shares = Lease(deadline=0), MachineShares()
    member = FleetMember(
        FleetClient(client),
        identity,
        capacity=places,
        most_per_project=settings.machines,
        max_machines=settings.max_machines,
        lease=lease,
        shares=shares,
        dead=dead,
        on_asked=liveness.pulse("The renewal of the lease of Machines", _ROUND_TIMEOUT).beat,
        on_served=liveness.pulse("What follows the shares of Machines", _ROUND_TIMEOUT).beat,
    )
    resources.push_async_callback(member.leave)
    launch_options = await asyncio.to_thread(
        _launch_options, settings, worker_dir, browser, isolation, reach, groups, lease, Capacity(places)
    )
    pools = MachinePools(launch_options, _recycle_limits(settings))
    resources.push_async_callback(pools.close)
    redactor = TraceRedactor()
    resources.push_async_callback(redactor.close)
    running_attempts = RunningAttempts()
    await resources.enter_async_context(_stop_worker(client, identity, running_attempts, watch))
    deployed = DeployedProjects(catalog, only=settings.projects)
    project_workers = ProjectWorkerManager(
        client=client,
        connect=partial(connect, settings, connection=connection, identity=identity, retry_timeout=_TEMPORAL_TIMEOUT),
        identity=identity,
        shares=shares,
        pools=pools,
        activities=attempt_activities(
            worker=identity,
            client=client,
            store=store,
            catalog=catalog,
            versions=VersionFolders(store, _folder(settings, "versions")),
            environments=_environments(settings, store),
            pools=pools,
            keyring=keyring,
            running_attempts=running_attempts,
            worker_dir=worker_dir,
            redactor=redactor,
            trace_limit=settings.trace_limit,
            log_policy=_log_policy(settings),
        ),
        running_attempts=running_attempts,
        drain_timeout=settings.drain,
        watch=watch,
    )
    member.start(deployed, project_workers)
    resources.push_async_callback(project_workers.stop)
    return [
        deployed.follow(settings.poll_versions, liveness.pulse("The search for deploys", _STORE_TIMEOUT).beat),
        member.watch(),
        project_workers.watch(),
        machine_heartbeat.report(
            client, identity, pools.usage, liveness.pulse("The report of Machines", _ROUND_TIMEOUT).beat
        ),
        *([machine_metrics.publish_machines(pools, shares)] if metrics.current().is_on else []),
    ]


def attempt_activities(
    *,
    worker: str,
    client: Client,
    store: Store,
    catalog: Catalog,
    versions: VersionFolders,
    environments: ProjectEnvironments,
    pools: MachinePools,
    keyring: KeyRing,
    running_attempts: RunningAttempts,
    worker_dir: WorkerDir,
    redactor: TraceRedactor,
    trace_limit: int,
    log_policy: LogPolicy,
) -> AttemptActivities:
    """Compose the activities of Attempts from the services of a worker."""
    records = AttemptRecords(store)
    logins = Logins(client, store, keyring)
    preparation = AttemptPreparation(
        store=store,
        catalog=catalog,
        versions=versions,
        environments=environments,
        logins=logins,
        keyring=keyring,
    )
    executor = AttemptExecutor(
        worker=worker,
        store=store,
        records=records,
        machine_attempts=MachineAttempts(
            catalog=catalog,
            preparation=preparation,
            pools=pools,
            outcomes=AttemptOutcomes(store, logins),
            keyring=keyring,
        ),
        start_signals=StartSignals(client, records),
        uploader=ArtifactUploader(store, redactor),
        running_attempts=running_attempts,
        worker_dir=worker_dir,
        trace_limit=trace_limit,
        log_policy=log_policy,
    )
    return AttemptActivities(executor, RetryableAttempts(executor, records))


async def _connect_to_temporal(
    settings: Settings, connection: Connection, identity: str, stop: asyncio.Event
) -> Client:
    """Connect to Temporal; it may not be there yet, as both are started at the same time.

    Raises:
        Unavailable: It could not be reached for `_TEMPORAL_TIMEOUT`, or until the worker was told to stop.
        ConfigurationError: It refuses, such as an API key, or for a namespace that does not exist.
    """
    loop, told = asyncio.get_running_loop(), ""
    deadline = loop.time() + _TEMPORAL_TIMEOUT.total_seconds()
    while True:
        try:
            client = await connect(settings, connection=connection, identity=identity, retry_timeout=_TEMPORAL_TIMEOUT)
        except Unavailable as error:
            if stop.is_set() or loop.time() > deadline:
                raise
            if error.message != told:
                told = error.message
                log.warning("%s The worker tries again for %g seconds.", told, _TEMPORAL_TIMEOUT.total_seconds())
        else:
            await TemporalHealth(client).check()
            log.info("Temporal at %s", connection)
            return client
        with suppress(TimeoutError):
            async with asyncio.timeout(_CONNECT_INTERVAL):
                await stop.wait()


async def _run_until_stopped(stop: asyncio.Event, *background: BackgroundWork) -> None:
    """Run the coroutines until `stop` is set; the first one that fails ends all, and its error is raised."""
    tasks = {asyncio.ensure_future(coroutine) for coroutine in (stop.wait(), *background)}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _stop_worker(
    client: Client, identity: str, running_attempts: RunningAttempts, watch: Watch
) -> AbstractAsyncContextManager[None]:
    """Return the running Temporal worker for activities that are addressed to this worker process alone."""
    worker = Worker(
        client,
        task_queue=names.worker_queue(identity),
        activities=[StopActivities(running_attempts).stop_attempt],
        identity=identity,
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(1),
        graceful_shutdown_timeout=GRACEFUL_SHUTDOWN_TIMEOUT,
    )
    return running_worker(worker, grace=GRACEFUL_SHUTDOWN_TIMEOUT, watch=watch)


def _launch_options(
    settings: Settings,
    worker_dir: WorkerDir,
    browser: Path,
    isolation: Isolation,
    reach: Reach,
    groups: Path | None,
    lease: Lease,
    capacity: Capacity,
) -> LaunchOptions:
    return LaunchOptions(
        worker_dir.scratch,
        browser,
        tuple(browser_args()),
        shared=tuple(settings.shared_folders),
        disk_limit=settings.machine_disk,
        groups=groups,
        find_full_browser=partial(find_browser, settings.chromium, headful=True),
        network=Network.of(reach, worker_dir.folder) if isolation.level is Level.FULL else None,
        filter=reach if isolation.level is Level.PARTIAL else None,
        hooks=isolation.level is Level.FULL or settings.partial_hooks,
        lease=lease,
        capacity=capacity,
        observer=machine_metrics.CountedMachines(),
    )


def _recycle_limits(settings: Settings) -> RecycleLimits:
    return RecycleLimits(
        idle=settings.machine_idle, attempts=settings.machine_max_attempts, age=settings.machine_max_age
    )


def _log_policy(settings: Settings) -> LogPolicy:
    if not settings.keeps_artifacts_in_bucket:
        return LogPolicy(settings.log_limit)
    return LogPolicy(settings.log_limit, _BUCKET_LOG_INTERVAL, _BUCKET_LOG_INTERVAL)


def _environments(settings: Settings, store: Store) -> ProjectEnvironments:
    dev = DevFolders(settings.dev_projects) if settings.dev_projects is not None else None
    return ProjectEnvironments(store, Environments(_folder(settings, "environments")), dev)


def _keyring(settings: Settings) -> KeyRing:
    return KeyRing([key.get_secret_value() for key in settings.secret_key])


def _folder(settings: Settings, name: str) -> Path:
    return settings.data_dir.expanduser().resolve() / name


async def _main() -> NoReturn:
    """Serve until SIGTERM or SIGINT, and end the process from within the event loop.

    Closing the loop would wait for the tasks of a worker that was left behind, which may never end.
    """
    try:
        settings = Settings()
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        install_runtime(settings, "worker", worker_heartbeat_interval=WORKER_HEARTBEAT_INTERVAL)
        start_tracing("callboard-worker")
        try:
            await serve(settings, stop)
        finally:
            stop_tracing()
    except CallboardError as error:
        log_fatal("callboard worker", error.message)
        hard_exit(1)
    except Exception:
        log.exception("The worker has failed")
        hard_exit(1)
    hard_exit(0)


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    configure_logging()
    asyncio.run(_main(), loop_factory=uvloop.new_event_loop)


if __name__ == "__main__":
    main()
