"""Compose and run a worker process: `python -m worker` (or `callboard worker`)."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
from contextlib import AsyncExitStack, suppress
from typing import NoReturn

from security.inspection import forbid_inspection

if __name__ == "__main__":
    forbid_inspection()  # before the imports that follow: they take a second, and the environment holds secrets

import uvloop
from temporalio.client import Client

from activities.workers.deployed_projects import DeployedResources
from machines.browser_program import find_browser
from machines.isolation import Level, find_isolation
from machines.sandbox import sandbox_refusal
from projects.catalog import Catalog
from schemas.errors import CallboardError, Unavailable
from settings import Settings
from storage.factory import open_store
from telemetry.health import Liveness
from telemetry.health_server import health_server
from telemetry.logs import configure_logging, log_fatal
from telemetry.runtime import install_runtime
from telemetry.tracing import start_tracing, stop_tracing
from temporal.client import WORKER_HEARTBEAT_INTERVAL, connect
from temporal.connection_config import Connection, find_connection
from temporal.fleet import fleet_worker
from temporal.hard_exit import hard_exit
from temporal.health import TemporalHealth
from worker.browser_worker import (
    STORE_TIMEOUT,
    TEMPORAL_TIMEOUT,
    BackgroundWork,
    WorkerProcess,
    start_attempt_workers,
)
from worker.control_worker import delivery_worker, workflow_worker

log = logging.getLogger("worker")

_CONNECT_INTERVAL = 1.0
"""Seconds between two tries to connect to Temporal."""


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
    browser = isolation = None
    if settings.role != "control":
        browser = await asyncio.to_thread(find_browser, settings.chromium)
        isolation = await asyncio.to_thread(find_isolation, settings.isolation)
        boxed = isolation.level is not Level.NONE
        if refusal := await asyncio.to_thread(sandbox_refusal, browser, boxed=boxed):
            log.warning("Chromium's own sandbox is off: %s. The worker's browsers run without it.", refusal)
    client = await _connect_to_temporal(settings, connection, identity, stop)
    async with AsyncExitStack() as resources:
        # Resources are released in reverse order: Attempts drain while Runs can still go on and be stopped.
        await resources.enter_async_context(fleet_worker(client, identity))
        catalog = Catalog(store, max_age=settings.poll_versions)
        background: list[BackgroundWork] = []
        if settings.role != "browser":
            await resources.enter_async_context(workflow_worker(settings, client, identity, store))
            await resources.enter_async_context(delivery_worker(settings, client, identity, store))
            deployed = DeployedResources(client, settings.workspace, catalog)
            pulse = liveness.pulse(
                "The search for deployed Jobs and AuthSessions", STORE_TIMEOUT + settings.poll_versions
            )
            background.append(deployed.follow(settings.poll_versions, pulse.beat))
        if browser is not None and isolation is not None:
            level = logging.INFO if isolation.level is Level.FULL else logging.WARNING
            log.log(level, "The level of isolation is %s.", isolation)
            process = WorkerProcess(settings, connection, client, identity, store, catalog, liveness)
            background += await start_attempt_workers(process, resources, browser, isolation)
        log.info("worker %s is ready (role: %s)", identity, settings.role)
        try:
            await _run_until_stopped(stop, *background)
        finally:
            liveness.leave()
        log.info("worker %s is leaving", identity)


async def _connect_to_temporal(
    settings: Settings, connection: Connection, identity: str, stop: asyncio.Event
) -> Client:
    """Connect to Temporal; it may not be there yet, as both are started at the same time.

    Raises:
        Unavailable: It could not be reached for `TEMPORAL_TIMEOUT`, or until the worker was told to stop.
        ConfigurationError: It refuses, such as an API key, or for a namespace that does not exist.
    """
    loop, logged = asyncio.get_running_loop(), ""
    deadline = loop.time() + TEMPORAL_TIMEOUT.total_seconds()
    while True:
        try:
            client = await connect(settings, connection=connection, identity=identity, retry_timeout=TEMPORAL_TIMEOUT)
        except Unavailable as error:
            if stop.is_set() or loop.time() > deadline:
                raise
            if error.message != logged:
                logged = error.message
                log.warning("%s The worker tries again for %g seconds.", logged, TEMPORAL_TIMEOUT.total_seconds())
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
