"""The processes that the bench needs beside Callboard: helpers of its own, and Temporal in two tunings."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

from devstack import ports
from devstack.temporal import TemporalServer


@asynccontextmanager
async def process(
    *arguments: str, environment: Mapping[str, str] | None = None, log: Path | None = None
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """A Python process, ended with the block.

    Args:
        arguments: Of Python.
        environment: Default: this process's own.
        log: File for what it says. Default: it says it here.
    """
    with log.open("w") if log else nullcontext() as said:
        started = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env=environment, stdout=said, stderr=said
        )
        try:
            yield started
        finally:
            if started.returncode is None:
                started.terminate()
            try:
                await asyncio.wait_for(started.wait(), 15)
            except TimeoutError:
                started.kill()
                await started.wait()


@asynccontextmanager
async def temporal_as_it_comes() -> AsyncGenerator[str]:
    """Address of a dev server with nothing set."""
    path = Path(sys.executable).with_name("temporal")
    starting = WorkflowEnvironment.start_local(dev_server_existing_path=str(path))  # pyright: ignore[reportUnknownMemberType]
    async with await starting as environment:
        yield environment.client.service_client.config.target_host


@asynccontextmanager
async def temporal_tuned(data: Path) -> AsyncGenerator[str]:
    """Address of a dev server as the embedded stack starts it."""
    free = ports.claim({"port": 0, "ui": 0})
    (data / "logs").mkdir(parents=True)
    server = TemporalServer(data, port=free["port"], ui_port=free["ui"], report=print)
    try:
        await server.start()
        yield server.address
    finally:
        await server.stop()
