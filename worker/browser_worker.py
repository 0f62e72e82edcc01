"""Compose what a worker process has in the role `browser`: Machines, and the Temporal workers that use them."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.worker import PollerBehaviorSimpleMaximum, Worker

from activities.attempt_activities import AttemptActivities
from activities.attempts.attempt_context import AttemptResources, RunningAttempts
from activities.attempts.attempt_log import LogPolicy
from activities.attempts.attempt_records import AttemptRecords
from activities.attempts.logins import Logins
from activities.attempts.project_environments import ProjectEnvironments
from activities.attempts.runtime_services import StoreQuota
from activities.version_builds import BuildActivities
from activities.workers import crash_recovery, machine_reports
from activities.workers.deployed_projects import DeployedProjects
from activities.workers.fleet_member import FleetMember
from activities.workers.project_workers import ProjectWorkerManager
from activities.workers.worker_dir import WorkerDir
from machines import cgroups
from machines.browser_program import browser_args, find_browser
from machines.capacity import Capacity, host_capacity
from machines.isolation import Isolation, Level
from machines.lease import Lease
from machines.machine_start import LaunchOptions
from machines.network import Network
from machines.package_box import PackageBox
from machines.pool import MachinePools
from machines.reachability import find_reach
from machines.slot import RecycleLimits
from machines.trace_redactor import TraceRedactor
from projects.catalog import Catalog
from projects.environments import Environments
from projects.versions import VersionFolders
from schemas.errors import Unavailable
from schemas.workflow import names
from security.keyring import KeyRing
from settings import Settings
from storage.store import Store
from telemetry import metrics
from telemetry.health import Liveness
from telemetry.tracing_settings import trace_endpoints
from temporal.client import connect
from temporal.connection_config import Connection
from temporal.fleet import FleetClient
from temporal.worker_shutdown import running_worker
from worker.control_worker import GRACEFUL_SHUTDOWN_TIMEOUT

log = logging.getLogger("worker")

BackgroundWork = Coroutine[Any, Any, None]
"""Work that the worker has to do for as long as it lives; if it fails, the worker ends."""

TEMPORAL_TIMEOUT = timedelta(seconds=30)
"""How long the worker tries to connect to Temporal."""
ROUND_TIMEOUT = timedelta(minutes=5)
"""Time after which a part that asks Temporal again and again counts as stuck. Each request is over in seconds."""
STORE_TIMEOUT = timedelta(minutes=10)
"""Time after which a part that asks the artifact store counts as stuck. A request to a bucket that is away is given up
after 70 seconds."""
_BUILDS_AT_ONCE = 2
"""How many versions are built at the same time for deploys: Attempts need the host more."""
_BUCKET_LOG_INTERVAL = timedelta(seconds=3)
"""Time between two pieces of a log that is being written: each is a request that is paid for."""


@dataclass(frozen=True)
class WorkerProcess:
    """What all parts of a worker process share."""

    settings: Settings
    connection: Connection
    """How it is connected to Temporal."""
    client: Client
    identity: str
    """The name that Temporal shows for this process."""
    store: Store
    catalog: Catalog
    liveness: Liveness
    """What `healthz` tells."""


async def start_attempt_workers(
    process: WorkerProcess, resources: AsyncExitStack, browser: Path, isolation: Isolation
) -> list[BackgroundWork]:
    """Start the Machines and the Temporal workers that use them, and return the background work that goes with them.

    `resources` closes what is started, in reverse order.
    """
    settings, client, identity, store = process.settings, process.client, process.identity, process.store
    catalog, liveness = process.catalog, process.liveness
    workers = settings.make_folder("workers")
    keyring = KeyRing.of(settings)
    groups = await asyncio.to_thread(delegated_group)
    dead = await crash_recovery.recover_dead_workers(client, workers, groups)
    worker_dir = WorkerDir(workers / identity)
    resources.callback(worker_dir.close)
    network = None
    if isolation.level is Level.FULL:
        reach = await find_reach(
            settings, temporal_address=process.connection.address, other_parts=trace_endpoints(os.environ)
        )
        network = Network.of(reach, worker_dir.folder)
    elif settings.browser_deny:
        log.warning("CALLBOARD_BROWSER_DENY closes nothing at the isolation level %s.", isolation.level)
    places = settings.capacity or host_capacity()
    log.info("there is room for %d Machine(s) at once", places)
    lease = Lease(deadline=0)
    member = FleetMember(
        FleetClient(client),
        identity,
        capacity=places,
        most_per_project=settings.machines,
        max_machines=settings.max_machines,
        lease=lease,
        dead=dead,
        on_asked=liveness.pulse("The renewal of the lease of Machines", ROUND_TIMEOUT).beat,
        on_served=liveness.pulse("What follows the shares of Machines", ROUND_TIMEOUT).beat,
    )
    resources.push_async_callback(member.leave)
    launch_options = LaunchOptions(
        worker_dir.scratch,
        browser,
        tuple(browser_args()),
        shared=tuple(settings.shared_folders),
        disk_limit=settings.machine_disk,
        groups=groups,
        find_full_browser=partial(find_browser, settings.chromium, headful=True),
        isolation=isolation.level,
        network=network,
        lease=lease,
        capacity=Capacity(places),
        on_started=lambda project: metrics.current().machine_started(project),
        on_recycled=lambda project, cause: metrics.current().machine_recycled(project, cause),
    )
    limits = RecycleLimits(
        idle=settings.machine_idle, attempts=settings.machine_max_attempts, age=settings.machine_max_age
    )
    pools = MachinePools(launch_options, limits)
    resources.push_async_callback(pools.close)
    redactor = TraceRedactor()
    resources.push_async_callback(redactor.close)
    running_attempts = RunningAttempts()
    await resources.enter_async_context(_stop_worker(process, running_attempts))
    versions, environments = VersionFolders(store, settings.make_folder("versions")), _environments(process)
    await resources.enter_async_context(_build_worker(process, versions, environments))
    attempt_resources = AttemptResources(
        worker=identity,
        client=client,
        store=store,
        records=AttemptRecords(store, client.data_converter),
        logins=Logins(client, store, keyring),
        catalog=catalog,
        versions=versions,
        environments=ProjectEnvironments(store, environments),
        pools=pools,
        keyring=keyring,
        redactor=redactor,
        running_attempts=running_attempts,
        worker_dir=worker_dir,
        store_quota=StoreQuota(store, settings.store_limit),
        trace_limit=settings.trace_limit,
        log_policy=_log_policy(settings),
    )
    deployed = DeployedProjects(catalog, only=settings.projects)
    project_workers = ProjectWorkerManager(
        client=client,
        connect=partial(
            connect, settings, connection=process.connection, identity=identity, retry_timeout=TEMPORAL_TIMEOUT
        ),
        identity=identity,
        lease=lease,
        pools=pools,
        activities=AttemptActivities(attempt_resources),
        running_attempts=running_attempts,
        drain_timeout=settings.drain,
    )
    member.start(deployed, project_workers)
    resources.push_async_callback(project_workers.stop)
    return [
        deployed.follow(
            settings.poll_versions,
            liveness.pulse("The search for deploys", STORE_TIMEOUT + settings.poll_versions).beat,
        ),
        member.watch(),
        project_workers.watch(),
        machine_reports.report(
            client, identity, pools, lease, liveness.pulse("The report of Machines", ROUND_TIMEOUT).beat
        ),
    ]


def _stop_worker(process: WorkerProcess, running_attempts: RunningAttempts) -> AbstractAsyncContextManager[None]:
    """Return the running Temporal worker for activities that are addressed to this worker process alone."""
    worker = Worker(
        process.client,
        task_queue=names.worker_queue(process.identity),
        activities=[running_attempts.stop_attempt],
        identity=process.identity,
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(1),
        graceful_shutdown_timeout=GRACEFUL_SHUTDOWN_TIMEOUT,
    )
    return running_worker(worker, grace=GRACEFUL_SHUTDOWN_TIMEOUT)


def _build_worker(
    process: WorkerProcess, versions: VersionFolders, environments: Environments
) -> AbstractAsyncContextManager[None]:
    """Return the running Temporal worker that builds versions which are being deployed."""
    builds = BuildActivities(
        store=process.store, versions=versions, environments=environments, root=process.settings.make_folder("builds")
    )
    worker = Worker(
        process.client,
        task_queue=names.BUILDS_QUEUE,
        activities=[builds.build_version],
        identity=process.identity,
        max_concurrent_activities=_BUILDS_AT_ONCE,
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(1),
        graceful_shutdown_timeout=GRACEFUL_SHUTDOWN_TIMEOUT,
    )
    return running_worker(worker, grace=GRACEFUL_SHUTDOWN_TIMEOUT)


def delegated_group() -> Path | None:
    """Return the control group for those of Machines, if one is delegated to this worker. This blocks.

    Raises:
        Unavailable: The kernel refuses to divide the group.
    """
    folder = cgroups.find_delegated()
    if folder is None:
        log.info("no control group is delegated to this worker: it measures what its Machines use")
        return None
    try:
        cgroups.prepare(folder)
    except OSError as error:
        raise Unavailable(
            f"The control group {folder} is delegated to this worker, but cannot be divided ({error.strerror}). "
            "Delegate the controllers memory and pids, and have no other processes in it; or delegate no group."
        ) from error
    log.info("control group %s holds Machines to their limits", folder)
    return folder


def _log_policy(settings: Settings) -> LogPolicy:
    if not settings.keeps_artifacts_in_bucket:
        return LogPolicy(settings.log_limit)
    return LogPolicy(settings.log_limit, _BUCKET_LOG_INTERVAL, _BUCKET_LOG_INTERVAL)


def _environments(process: WorkerProcess) -> Environments:
    settings = process.settings
    box = PackageBox(settings, temporal_address=process.connection.address, other_parts=trace_endpoints(os.environ))
    return Environments(settings.make_folder("environments"), box, build_packages=settings.build_packages)
