"""The processes that the benchmark needs beside Callboard: its own helpers, Temporal, and an api."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import httpx

from callboard.dev import ports
from callboard.dev.environment import build_environment
from callboard.dev.temporal import TemporalServer
from callboard.settings import Settings


@asynccontextmanager
async def process(
    *arguments: str, environment: Mapping[str, str] | None = None, log: Path | None = None
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run a Python process until the block ends.

    Args:
        arguments: The arguments of Python.
        environment: The environment of the process; by default, that of this process.
        log: File for the output; by default, the process writes to the output of this process.
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
async def temporal_tuned(data: Path, *dynamic_config: str) -> AsyncGenerator[TemporalServer]:
    """Run a dev server as the embedded stack starts it, with more dynamic configuration as `key=JSON value`."""
    free = ports.choose_ports({"port": 0, "ui": 0})
    (data / "logs").mkdir(parents=True)
    server = TemporalServer(data, port=free["port"], ui_port=free["ui"], report=print, dynamic_config=dynamic_config)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def api_of(settings: Settings, log: Path) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run an api with these settings, from when it is ready until the block ends. Its output goes to the file."""
    async with process("-m", "api", environment=build_environment(settings), log=log) as started:
        async with asyncio.timeout(60), httpx.AsyncClient(trust_env=False) as http:
            while not await _is_ready(http, settings.port):
                if started.returncode is not None:
                    raise RuntimeError(f"The api has ended: {log.read_text()}")
                await asyncio.sleep(0.1)
        yield started


async def _is_ready(http: httpx.AsyncClient, port: int) -> bool:
    try:
        return (await http.get(f"http://127.0.0.1:{port}/readyz")).is_success
    except httpx.TransportError:  # it does not listen yet
        return False
