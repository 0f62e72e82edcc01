"""Compose and run a worker process: `python -m worker` (or `callboard worker`)."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from security.inspection import forbid_inspection

if __name__ == "__main__":
    forbid_inspection()  # before the imports that follow: they take a second, and the environment holds secrets

import uvloop
from temporalio.client import Client
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import PollerBehaviorSimpleMaximum, UnsandboxedWorkflowRunner, Worker

from activities.attempts.attempt_log import LogPolicy
from activities.attempts.execution import AttemptActivities
from activities.attempts.log_recovery import LogRecovery
from activities.attempts.running_attempts import RunningAttempts
from activities.attempts.runtime_environment import ProjectEnvironments
from activities.control import ForgetActivity, LostActivity, StopActivity
from activities.deliveries.delivery_sender import DeliverySender
from activities.delivery import DeliverActivities
from activities.sink_test import SinkTestActivity
from activities.sweep import SweepActivity
from activities.workers import crash_recovery, machine_heartbeat, temporal_watchdog
from activities.workers.project_workers import ProjectWorkerManager, WorkerPools
from activities.workers.worker_dir import WorkerDir
from machines.browser import browser_args, find_browser
from machines.machine import LaunchOptions
from machines.sandbox import sandbox_refusal
from machines.slot import RecycleLimits
from machines.trace_redactor import TraceRedactor
from projects.catalog import Catalog
from projects.dotenv import DevFolders
from projects.environments import Environments
from projects.versions import VersionFolders
from schemas.errors import CallboardError, Unavailable
from schemas.workflow import names
from security.egress import Egress
from security.keyring import KeyRing
from security.pinned_transport import GuardedTransport
from security.signing import Signer
from settings import Settings, installed_version
from storage.factory import open_store
from storage.store import Store
from temporal.client import WORKER_HEARTBEAT, connect
from temporal.hard_exit import leave
from temporal.runs import Runs
from temporal.worker_shutdown import running
from workflows.auth_session import AuthSessionWorkflow
from workflows.create import CreateWorkflow
from workflows.deliver import DeliverWorkflow
from workflows.run import RunWorkflow
from workflows.sink_test import SinkTestWorkflow
from workflows.sweep import SweepWorkflow
from workflows.validate import ValidateWorkflow

log = logging.getLogger("worker")

_STICKY = timedelta(seconds=1)
"""How long a workflow task of a Run waits for the worker that has the Run in its cache. By default it is ten
seconds, for which every Run of a killed worker would stand still; a worker that takes over only reads a short
history again."""
_PLAIN = UnsandboxedWorkflowRunner()
"""Runner that executes workflows without the SDK's sandbox: all are Callboard's own, and tests run and replay them
in the sandbox. Here the sandbox would take a third of what a worker computes for a Run."""
_CONTROL_GRACE = timedelta(seconds=5)
_DELIVERIES_AT_ONCE = 500
"""How many tries of Deliveries run at the same time: one that waits for an unreachable receiver takes one of these
for half a minute, and the memory of what it sends."""
_TEMPORAL_PATIENCE = timedelta(seconds=30)
_LOG_PIECES_IN_A_BUCKET = timedelta(seconds=3)
"""Time between two pieces of a log that is being written: each is a request that is paid for."""


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serve workflows and all deployed projects until `stop` is set, then drain and leave nothing behind.

    Raises:
        CallboardError: There is no browser, the store cannot be opened, or Temporal cannot be reached at the start.
        RuntimeError: Temporal refuses this worker.
    """
    identity = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    store = open_store(settings.artifact_location, endpoint=settings.artifacts_endpoint)
    browser = None if settings.role == "control" else await asyncio.to_thread(find_browser, settings.chromium)
    if browser is not None and (refusal := await asyncio.to_thread(sandbox_refusal, browser)):
        log.warning("Chromium's own sandbox is off: %s. The worker's browsers run without it.", refusal)
    client = await _reach_temporal(settings, identity)
    async with AsyncExitStack() as resources:
        # Resources are released in reverse order: Attempts drain while Runs can still go on and be stopped.
        if settings.role != "browser":
            await resources.enter_async_context(_control(client, identity, store))
            await _deliver(resources, settings, client, identity, store)
        works: list[Coroutine[Any, Any, None]] = []
        if browser is not None:
            works = await _execute_attempts(resources, settings, client, identity, store, browser)
        log.info("worker %s is ready (role: %s)", identity, settings.role)
        await _until(stop, *works)
        log.info("worker %s is leaving", identity)


async def _execute_attempts(
    resources: AsyncExitStack, settings: Settings, client: Client, identity: str, store: Store, browser: Path
) -> list[Coroutine[Any, Any, None]]:
    """Start the Machines and what serves them, and return what has to run as long as the worker lives."""
    workers = _folder(settings, "workers")
    log_recovery = LogRecovery(store, _keyring(settings), limit=settings.log_limit)
    await crash_recovery.recover_dead_workers(client, workers, log_recovery)
    worker_dir = WorkerDir(workers / identity)
    resources.callback(worker_dir.leave)
    pools = WorkerPools(_launch(settings, worker_dir, browser), _limits(settings))
    resources.push_async_callback(pools.close)
    redactor = TraceRedactor()
    resources.push_async_callback(redactor.close)
    running_attempts = RunningAttempts()
    await resources.enter_async_context(_orders(client, identity, StopActivity(running_attempts)))
    project_workers = _serving(settings, client, identity, store, worker_dir, pools, redactor, running_attempts)
    resources.push_async_callback(project_workers.stop)
    return [
        project_workers.follow(settings.poll_versions),
        temporal_watchdog.watch(client, running_attempts),
        machine_heartbeat.report(client, identity, pools.up),
    ]


def _serving(
    settings: Settings,
    client: Client,
    identity: str,
    store: Store,
    worker_dir: WorkerDir,
    pools: WorkerPools,
    redactor: TraceRedactor,
    running_attempts: RunningAttempts,
) -> ProjectWorkerManager:
    catalog = Catalog(store, max_age=settings.poll_versions)
    attempt = AttemptActivities(
        worker=identity,
        client=client,
        store=store,
        catalog=catalog,
        versions=VersionFolders(store, _folder(settings, "versions")),
        environments=_environments(settings, store),
        pools=pools,
        keyring=_keyring(settings),
        running_attempts=running_attempts,
        trace_limit=settings.trace_limit,
        redactor=redactor,
        journal=worker_dir.journal,
        evidence=worker_dir.evidence,
        log_rules=_log_rules(settings),
    )
    return ProjectWorkerManager(
        client=client,
        connect=partial(connect, settings, identity=identity, patience=_TEMPORAL_PATIENCE),
        identity=identity,
        catalog=catalog,
        pools=pools,
        attempt=attempt.attempt,
        running_attempts=running_attempts,
        drain=settings.drain,
        only=settings.projects,
        at_most=settings.machines,
    )


async def _reach_temporal(settings: Settings, identity: str) -> Client:
    try:
        client = await connect(settings, identity=identity, patience=_TEMPORAL_PATIENCE)
    except RuntimeError as error:  # the SDK raises it if Temporal cannot be reached
        raise Unavailable(
            f"Temporal cannot be reached at {settings.temporal_address}. Start it, or set CALLBOARD_TEMPORAL_ADDRESS."
        ) from error
    await Runs(client).check()
    return client


async def _until(stop: asyncio.Event, *works: Coroutine[Any, Any, None]) -> None:
    """Run `works` until `stop` is set; the first one that fails ends all, and its error is raised."""
    tasks = {asyncio.ensure_future(work) for work in (stop.wait(), *works)}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _control(client: Client, identity: str, store: Store) -> AbstractAsyncContextManager[None]:
    """Run the Temporal worker for workflows and light activities."""
    worker = Worker(
        client,
        task_queue=names.CALLBOARD_QUEUE,
        workflows=[RunWorkflow, ValidateWorkflow, CreateWorkflow, AuthSessionWorkflow, SweepWorkflow],
        activities=[
            LostActivity(store).record_lost,
            ForgetActivity(store).forget_states,
            SweepActivity(client, store).sweep_artifacts,
        ],
        identity=identity,
        workflow_runner=_PLAIN,
        sticky_queue_schedule_to_start_timeout=_STICKY,
        graceful_shutdown_timeout=_CONTROL_GRACE,
    )
    return running(worker, grace=_CONTROL_GRACE)


async def _deliver(resources: AsyncExitStack, settings: Settings, client: Client, identity: str, store: Store) -> None:
    """Start the worker that delivers results.

    It has a task queue and slots of its own, so that dead receivers delay nothing else.
    """
    signer = Signer([secret.get_secret_value() for secret in settings.webhook_secrets])
    transport = await resources.enter_async_context(GuardedTransport(Egress(settings.egress_allow)))
    delivery_sender = DeliverySender(
        store=store,
        transport=transport,
        keyring=_keyring(settings),
        signer=signer,
        agent=f"callboard/{installed_version()}",
    )
    activities = DeliverActivities(client=client, store=store, delivery_sender=delivery_sender)
    worker = Worker(
        client,
        task_queue=names.DELIVERIES_QUEUE,
        workflows=[DeliverWorkflow, SinkTestWorkflow],
        activities=[
            activities.prepare_delivery,
            activities.send_delivery,
            SinkTestActivity(store, delivery_sender).send_test,
        ],
        identity=identity,
        max_concurrent_activities=_DELIVERIES_AT_ONCE,
        workflow_runner=_PLAIN,
        sticky_queue_schedule_to_start_timeout=_STICKY,
        graceful_shutdown_timeout=_CONTROL_GRACE,
    )
    await resources.enter_async_context(running(worker, grace=_CONTROL_GRACE))


def _orders(client: Client, identity: str, stop: StopActivity) -> AbstractAsyncContextManager[None]:
    """Run the Temporal worker for activities that are addressed to this worker process alone."""
    worker = Worker(
        client,
        task_queue=names.worker_queue(identity),
        activities=[stop.stop_attempt],
        identity=identity,
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(1),
        graceful_shutdown_timeout=_CONTROL_GRACE,
    )
    return running(worker, grace=_CONTROL_GRACE)


def _launch(settings: Settings, worker_dir: WorkerDir, browser: Path) -> LaunchOptions:
    full = partial(find_browser, settings.chromium, headful=True)
    return LaunchOptions(worker_dir.scratch, browser, tuple(browser_args()), full)


def _limits(settings: Settings) -> RecycleLimits:
    return RecycleLimits(
        idle=settings.machine_idle, attempts=settings.machine_max_attempts, age=settings.machine_max_age
    )


def _log_rules(settings: Settings) -> LogPolicy:
    if not settings.artifact_location.startswith("s3:"):
        return LogPolicy(settings.log_limit)
    return LogPolicy(settings.log_limit, _LOG_PIECES_IN_A_BUCKET, _LOG_PIECES_IN_A_BUCKET)


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
        Runtime.set_default(Runtime(telemetry=TelemetryConfig(), worker_heartbeat_interval=WORKER_HEARTBEAT))
        await serve(settings, stop)
    except CallboardError as error:
        print(f"callboard worker: {error.message}", file=sys.stderr)  # noqa: T201  # this is the last output of the process
        leave(1)
    except Exception:
        log.exception("The worker has failed")
        leave(1)
    leave(0)


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(_main(), loop_factory=uvloop.new_event_loop)


if __name__ == "__main__":
    main()
