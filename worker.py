"""A worker: a process that hosts Callboard's workflows and activities (`python -m worker`, or `callboard worker`).

Each function ending in `_worker` makes one Temporal Worker: what it takes from which task queue, and how much of that
at once. By its role, a process has those for workflows and Deliveries (`control`), those that need Playwright
(`browser`), or all of them. What makes the Machines of the latter is in `callboard/machines/host.py`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, NoReturn

from callboard.security.inspection import forbid_inspection

if __name__ == "__main__":
    forbid_inspection()  # before the imports that follow: they take a second, and the environment holds secrets

import uvloop
from temporalio.client import Client
from temporalio.common import VersioningBehavior
from temporalio.worker import (
    Interceptor,
    PollerBehaviorAutoscaling,
    PollerBehaviorSimpleMaximum,
    UnsandboxedWorkflowRunner,
    Worker,
)

from activities.alerts import AlertActivities
from activities.artifacts import ArtifactActivities
from activities.attempt_activities import AttemptActivities
from activities.attempts.live_dial import LiveViewers
from activities.attempts.new_versions import NewVersions
from activities.attempts.running_attempts import RunningAttempts
from activities.bulk import BulkActivities
from activities.codes import CodeActivities
from activities.delivery import DeliveryActivities
from activities.jobs.activities import JobRunActivities
from activities.leases import LeaseActivities
from activities.project_changes import ProjectActivities
from activities.resource import ResourceActivities
from activities.upload_deploys import BuildActivities, UploadActivities
from activities.variables import VariableActivities
from activities.workers.deployed_projects import DeployedProjects, DeployedResources
from activities.workers.fleet_member import FleetMember
from activities.workers.machine_metrics import count_repeatedly
from activities.workers.project_workers import ProjectWorkerManager
from activities.workers.worker_dir import WorkerDir, recover_dead_workers
from callboard.machines.host import Host
from callboard.machines.lease import Lease
from callboard.machines.package_box import PackageBox
from callboard.machines.trace_redactor import TraceRedactor
from callboard.projects.catalog import Catalog, deploys_seen_within
from callboard.projects.environments import Environments
from callboard.projects.versions import VersionFolders
from callboard.schemas.errors import CallboardError
from callboard.schemas.workflow import names
from callboard.security.egress import EgressPolicy
from callboard.security.keyring import KeyRing
from callboard.security.pinned_transport import PinnedTransport
from callboard.settings import Settings
from callboard.storage.factory import open_store
from callboard.storage.store import Store
from callboard.telemetry import metrics
from callboard.telemetry.health import Liveness, health_server
from callboard.telemetry.logs import configure_logging, log_fatal
from callboard.telemetry.runtime import install_runtime
from callboard.telemetry.tracing import start_tracing, stop_tracing, trace_endpoints
from callboard.temporal.client import connect
from callboard.temporal.connection_config import Connection, find_connection
from callboard.temporal.fleet import FleetClient
from callboard.temporal.fleet_worker import fleet_worker
from callboard.temporal.hard_exit import hard_exit
from callboard.temporal.health import CONNECT_TIMEOUT, connect_once_up
from callboard.temporal.run_waits import RunWaits
from callboard.temporal.worker_deployment import deployment_config
from callboard.temporal.worker_shutdown import running_worker
from callboard.temporal.workflow_metrics import WorkflowMetrics
from workflows.alerts import AlertsWorkflow
from workflows.apply_resources import ApplyResourcesWorkflow
from workflows.auth_session import AuthSessionWorkflow
from workflows.bulk import BulkWorkflow
from workflows.create import CreateWorkflow
from workflows.deliver import DeliverWorkflow, SinkTestWorkflow
from workflows.deploy import DeployWorkflow
from workflows.inbox import InboxWorkflow
from workflows.job_lock import JobLockWorkflow
from workflows.job_run import JobRunWorkflow
from workflows.live import DialLiveWorkflow
from workflows.project_changes import DeleteProjectWorkflow, MovePointerWorkflow
from workflows.run_workflow import RunWorkflow
from workflows.sweep import SweepWorkflow
from workflows.trigger_job import TriggerJobWorkflow
from workflows.validate import ValidateWorkflow

log = logging.getLogger("worker")

ROUND_TIMEOUT = timedelta(minutes=5)
"""Time after which a part that asks Temporal again and again counts as stuck. Each request is over in seconds."""
STORE_TIMEOUT = timedelta(minutes=10)
"""Time after which a part that asks the artifact store counts as stuck. A request to a bucket that is away is given up
after 70 seconds."""
_GRACE = timedelta(seconds=5)
"""How long activities may go on when the process stops. Attempts have `CALLBOARD_DRAIN` for that."""
_HEARTBEAT_THROTTLE = timedelta(seconds=20)
"""Time between two heartbeats of the SDK, which only keep its own timer going: Attempts send theirs themselves, to hear
the answer (`activities/heartbeat.py`)."""
_OF_RUNS = (RunWorkflow, ValidateWorkflow, CreateWorkflow, AuthSessionWorkflow)
"""The workflows that a Run consists of; the last one for an AuthSession that lives for it alone."""

BackgroundWork = Coroutine[Any, Any, None]
"""Work that the process has to do for as long as it lives; if it fails, the process ends."""


@dataclass(frozen=True)
class Process:
    """What all parts of this process share."""

    settings: Settings
    connection: Connection
    """How it is connected to Temporal."""
    client: Client
    identity: str
    """The name that Temporal shows for it."""
    store: Store
    catalog: Catalog
    liveness: Liveness
    """What `healthz` tells."""


def attempts_worker(
    identity: str, attempts: AttemptActivities, client: Client, slots: Interceptor, project: str, machines: int
) -> Worker:
    """Return the worker that takes Attempts of a project, as many at once as it has Machines here.

    `machines` is this process's part of the project's `maxConcurrentRequests`. Each worker of a project has a client of
    its own, as the SDK allows one worker of a task queue on each.
    """
    return Worker(
        client,
        task_queue=names.project_queue(project),
        activities=[attempts.attempt, attempts.check, attempts.create, attempts.record],
        max_concurrent_activities=machines,
        identity=identity,
        interceptors=[slots],
        # An idle project has one poll, as there may be a thousand of them.
        activity_task_poller_behavior=PollerBehaviorAutoscaling(minimum=1, maximum=min(machines, 5), initial=1),
        max_heartbeat_throttle_interval=_HEARTBEAT_THROTTLE,
        default_heartbeat_throttle_interval=_HEARTBEAT_THROTTLE,
        # This is longer than any Attempt. Whoever drains the worker decides how long its Attempts may go on.
        graceful_shutdown_timeout=timedelta(days=1),
    )


def own_worker(process: Process, running_attempts: RunningAttempts) -> Worker:
    """Return the worker for what is addressed to this process alone: to stop an Attempt that runs here, or show it."""
    views = LiveViewers(running_attempts, KeyRing.of(process.settings))
    return Worker(
        process.client,
        task_queue=names.worker_queue(process.identity),
        activities=[running_attempts.stop_attempt, views.connect_live],
        identity=process.identity,
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(1),
        graceful_shutdown_timeout=_GRACE,
    )


def builds_worker(process: Process, builds: BuildActivities) -> Worker:
    """Return the worker that builds the packages of versions that are being deployed."""
    return Worker(
        process.client,
        task_queue=names.BUILDS_QUEUE,
        activities=[builds.build_version],
        max_concurrent_activities=2,  # Attempts need the host more
        identity=process.identity,
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(1),
        graceful_shutdown_timeout=_GRACE,
    )


def runs_worker(process: Process, of_runs: Sequence[Callable[..., Any]]) -> Worker:
    """Return the worker that sequences Runs. With a build id, they end on the build that they began on."""
    return _workflow_worker(process, names.RUNS_QUEUE, VersioningBehavior.PINNED, _OF_RUNS, of_runs)


def others_worker(
    process: Process,
    of_runs: Sequence[Callable[..., Any]],
    artifacts: ArtifactActivities,
    waits: RunWaits,
    bulk: BulkActivities,
) -> Worker:
    """Return the worker for AuthSessions, Jobs, bulks, deploys and sweeps.

    What lasts for years moves to the current build.
    """
    settings, client, store = process.settings, process.client, process.store
    job_runs = JobRunActivities.of(settings, client, store, process.catalog, waits)
    resources = ResourceActivities.of(settings, client, store)
    uploads = UploadActivities.of(settings, store)
    changes = ProjectActivities(
        client=client, store=store, max_machines=settings.max_machines, catalog_age=process.catalog.max_age
    )
    workflows = [
        *_OF_RUNS,  # AuthSessions have Creates, and JobRuns have Validates
        *(JobRunWorkflow, JobLockWorkflow, TriggerJobWorkflow, ApplyResourcesWorkflow),
        *(DeployWorkflow, MovePointerWorkflow, DeleteProjectWorkflow, SweepWorkflow, BulkWorkflow),
        *(InboxWorkflow, AlertsWorkflow, DialLiveWorkflow),
    ]
    activities = [
        *of_runs,
        *(job_runs.acquire_job_lock, job_runs.release_job_lock, job_runs.prepare_job_run),
        *(job_runs.execute_job_items, job_runs.await_auth_session, resources.update_resources),
        *(uploads.check_upload, uploads.publish_upload, uploads.remove_upload),
        *(changes.move_pointer, changes.withdraw_project, changes.remove_project, artifacts.sweep_artifacts),
        *(bulk.act_on_runs, CodeActivities.of(settings, client).give_code, LeaseActivities(client).is_run_over),
    ]
    return _workflow_worker(process, names.CALLBOARD_QUEUE, VersioningBehavior.AUTO_UPGRADE, workflows, activities)


def deliveries_worker(process: Process, transport: PinnedTransport) -> Worker:
    """Return the worker that sends to sinks. Its slots are its own, so that dead receivers delay nothing else."""
    slots = 500  # a try that waits for an unreachable receiver takes one for half a minute, with what it sends
    deliveries = DeliveryActivities.of(process.settings, process.client, process.store, transport, places=slots)
    activities = [deliveries.prepare_delivery, deliveries.send_delivery, deliveries.send_test]
    behavior = VersioningBehavior.AUTO_UPGRADE  # a Delivery may be tried for days
    workflows = [DeliverWorkflow, SinkTestWorkflow]
    return _workflow_worker(process, names.DELIVERIES_QUEUE, behavior, workflows, activities, slots)


def _workflow_worker(
    process: Process,
    queue: str,
    behavior: VersioningBehavior,
    workflows: Sequence[type],
    activities: Sequence[Callable[..., Any]],
    slots: int = 1_000,  # each JobRun that is active occupies one, which mostly waits
) -> Worker:
    return Worker(
        process.client,
        task_queue=queue,
        workflows=workflows,
        activities=activities,
        max_concurrent_activities=slots,
        max_concurrent_local_activities=slots,
        identity=process.identity,
        interceptors=[WorkflowMetrics()],
        deployment_config=deployment_config(process.settings.build_id, behavior),
        # All workflows are Callboard's own, and tests run and replay them in the SDK's sandbox. Here the sandbox would
        # take a third of what a worker computes for a Run.
        workflow_runner=UnsandboxedWorkflowRunner(),
        # A workflow task waits so long for the worker that has the workflow in its cache. By default it is ten seconds,
        # for which every Run of a killed worker would stand still; who takes over only reads a short history again.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
        graceful_shutdown_timeout=_GRACE,
    )


async def host_workflows(process: Process, resources: AsyncExitStack) -> list[BackgroundWork]:
    """Start what a process has in the role `control`, and return the background work that goes with it.

    `resources` closes what is started, in reverse order.
    """
    settings, client, store = process.settings, process.client, process.store
    artifacts = ArtifactActivities.of(settings, client, store)
    of_runs = [
        *(artifacts.record_interrupted, artifacts.delete_states),
        VariableActivities.of(settings, client, store).collect_variables,
        AlertActivities.of(settings, client, process.catalog).count_run,
    ]
    waits = RunWaits(client)
    resources.push_async_callback(waits.close)
    await resources.enter_async_context(running_worker(runs_worker(process, of_runs)))
    bulk = BulkActivities.of(settings, client, store, process.catalog)
    resources.push_async_callback(bulk.services.runs.close)
    await resources.enter_async_context(running_worker(others_worker(process, of_runs, artifacts, waits, bulk)))
    transport = await resources.enter_async_context(PinnedTransport(EgressPolicy(settings.egress_allow)))
    await resources.enter_async_context(running_worker(deliveries_worker(process, transport)))
    deployed = DeployedResources(client, settings.workspace, process.catalog)
    within = STORE_TIMEOUT + process.catalog.max_age
    searched = process.liveness.pulse("The search for deployed Jobs and AuthSessions", within)
    return [deployed.follow(process.catalog.max_age, searched.beat)]


async def host_playwright(process: Process, host: Host, resources: AsyncExitStack) -> list[BackgroundWork]:
    """Start what a process has in the role `browser`, and return the background work that goes with it.

    `resources` closes what is started, in reverse order.
    """
    settings, client, identity, store = process.settings, process.client, process.identity, process.store
    pulse, address, other_parts = process.liveness.pulse, process.connection.address, trace_endpoints(os.environ)
    workers = settings.make_folder("workers")
    dead = await recover_dead_workers(client, workers, host.groups)
    worker_dir = WorkerDir(workers / identity)
    resources.callback(worker_dir.close)
    lease = Lease(deadline=0)
    # The SDK repeats nothing here: the member asks again by itself, at another moment than others.
    asking = await connect(
        settings, connection=process.connection, lazy=True, identity=identity, retry_timeout=timedelta()
    )
    member = FleetMember(
        FleetClient(asking),
        identity,
        capacity=host.capacity,
        most_per_project=settings.machines,
        max_machines=settings.max_machines,
        isolation=host.isolation.level,
        lease=lease,
        dead=dead,
        on_asked=pulse("The renewal of the lease of Machines", ROUND_TIMEOUT).beat,
        on_served=pulse("What follows the shares of Machines", ROUND_TIMEOUT).beat,
    )
    resources.push_async_callback(member.leave)
    pools = await host.make_pools(
        settings,
        worker_dir.folder,
        worker_dir.scratch,
        lease,
        temporal_address=address,
        other_parts=other_parts,
        on_started=metrics.current().machine_started,
        on_recycled=metrics.current().machine_recycled,
    )
    resources.push_async_callback(pools.close)
    redactor = TraceRedactor()
    resources.push_async_callback(redactor.close)
    running_attempts = RunningAttempts()
    await resources.enter_async_context(running_worker(own_worker(process, running_attempts)))
    versions = VersionFolders(store, settings.make_folder("versions"))
    box = PackageBox(settings, temporal_address=address, other_parts=other_parts)
    environments = Environments(settings.make_folder("environments"), box)
    root = settings.make_folder("builds")
    builds = BuildActivities(store=store, environments=environments, root=root)
    await resources.enter_async_context(running_worker(builds_worker(process, builds)))
    attempts = AttemptActivities.of(
        settings,
        client,
        store,
        process.catalog,
        worker=identity,
        worker_dir=worker_dir,
        versions=versions,
        environments=environments,
        pools=pools,
        redactor=redactor,
        running_attempts=running_attempts,
    )
    project_workers = ProjectWorkerManager(
        client=client,
        connect=lambda: connect(
            settings, connection=process.connection, identity=identity, retry_timeout=CONNECT_TIMEOUT
        ),
        make_worker=partial(attempts_worker, identity, attempts),
        lease=lease,
        pools=pools,
        running_attempts=running_attempts,
        drain_timeout=settings.drain,
    )
    new_versions = NewVersions(attempts.resources)
    resources.push_async_callback(new_versions.close)
    deployed = DeployedProjects(process.catalog, only=settings.projects, on_deploy=new_versions.deployed)
    member.start(deployed, project_workers)
    resources.push_async_callback(project_workers.stop)
    searched = pulse("The search for deploys", STORE_TIMEOUT + process.catalog.max_age)
    counted = pulse("The count of Machines", ROUND_TIMEOUT)
    return [
        deployed.follow(process.catalog.max_age, searched.beat),
        member.watch(),
        project_workers.watch(),
        count_repeatedly(pools, lease, counted.beat),
    ]


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serve workflows and all deployed projects until `stop` is set, then drain and leave nothing behind.

    Raises:
        CallboardError: There is no browser, the store cannot be opened, or Temporal cannot be reached at the start.
        RuntimeError: Temporal refuses this worker.
    """
    liveness = Liveness()
    async with health_server(settings.health_address, liveness), AsyncExitStack() as resources:
        identity = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        connection = find_connection(settings)
        store = open_store(settings.artifact_location, endpoint=settings.artifacts_endpoint)
        host = None if settings.role == "control" else await Host.find(settings)
        client = await connect_once_up(settings, connection, identity, stop)
        catalog = Catalog(store, deploys_seen_within(is_bucket=settings.keeps_artifacts_in_bucket))
        process = Process(settings, connection, client, identity, store, catalog, liveness)
        # What is started is closed in reverse order: Attempts drain while Runs can still go on and be stopped.
        await resources.enter_async_context(running_worker(fleet_worker(client, identity)))
        background: list[BackgroundWork] = []
        if settings.role != "browser":
            background += await host_workflows(process, resources)
        if host is not None:
            background += await host_playwright(process, host, resources)
        log.info("worker %s is ready (role: %s)", identity, settings.role)
        try:
            await _run_until_stopped(stop, *background)
        finally:
            liveness.leave()
        log.info("worker %s is leaving", identity)


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
        install_runtime(settings, "worker")
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
