"""The starter of processes for tests, and what any process is: also one that ends while it is looked at."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Container, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import coverage
import psutil

from tests.support.repository import REPOSITORY

CALLBOARD = Path(sys.executable).with_name("callboard")
PATIENCE = 90
"""Seconds. Everything takes moments; a busy machine may be slow."""
_OTHERS = ("CALLBOARD_", "TEMPORAL_", "DISPLAY", "WAYLAND_DISPLAY")
ENDS_WELL = frozenset({0, -signal.SIGTERM, -signal.SIGKILL})
"""Exit codes. uvicorn ends by the signal that it was stopped with, and a test may have killed the process."""

ENDS_SOMEHOW = range(-64, 256)
"""All exit codes."""


def surroundings(**variables: str) -> dict[str, str]:
    """Return our environment with these variables in place of what is set for Callboard, and without a desktop.

    Where the browser of this host is stays: `CALLBOARD_CHROMIUM`.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
    if chromium := os.environ.get("CALLBOARD_CHROMIUM"):
        kept["CALLBOARD_CHROMIUM"] = chromium
    return kept | variables


def measured() -> dict[str, str]:
    """Return the variables that have coverage.py measure a command, if it measures this process.

    No other process is measured: services take more memory and time by it, and Machines and other users may not write
    here.
    """
    if coverage.Coverage.current() is None:
        return {}
    return {
        "COVERAGE_PROCESS_START": str(REPOSITORY / "pyproject.toml"),
        "COVERAGE_FILE": str(REPOSITORY / ".coverage" / "data"),
    }


@asynccontextmanager
async def running(
    *command: str | Path,
    log: Path,
    ends: Container[int] = ENDS_WELL,
    cwd: Path | str = REPOSITORY,
    env: Mapping[str, str] | None = None,
    **identity: Any,
) -> AsyncGenerator[Process]:
    """Run a process until the block ends, which tells it to end by SIGTERM.

    Args:
        command: The program and its arguments.
        log: File for its output.
        ends: The exit codes with which it may end.
        cwd: The folder that it works in.
        env: Its environment; by default, `surroundings()`.
        identity: Whose process it is, as for `asyncio.create_subprocess_exec`; by default, ours.
    """
    with log.open("wb") as out:
        env = surroundings() if env is None else env
        process = await asyncio.create_subprocess_exec(
            *command, cwd=cwd, env=env, stdin=DEVNULL, stdout=out, stderr=out, **identity
        )
    try:
        yield process
        if process.returncode is None:
            process.terminate()
        assert await asyncio.wait_for(process.wait(), PATIENCE) in ends, log.read_text(errors="replace")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Done(NamedTuple):
    """What a command has said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


async def execute(
    *command: str | Path,
    text: str = "",
    within: float = PATIENCE,
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    **identity: Any,
) -> Done:
    """Run a command to its end.

    Args:
        command: The program and its arguments.
        text: What it reads.
        within: Seconds that it may take.
        cwd: The folder that it works in; by default, ours.
        env: Its environment; by default, `surroundings()`.
        identity: Whose process it is, as for `asyncio.create_subprocess_exec`; by default, ours.
    """
    env = surroundings() if env is None else env
    if command[0] == CALLBOARD:
        env = {**env, **measured()}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env=env, stdin=PIPE, stdout=PIPE, stderr=PIPE, **identity
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(text.encode()), within)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Done(process.returncode or 0, out.decode(), err.decode())


def callboard_process(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, as somebody types it in this folder."""
    command = [CALLBOARD, *arguments]
    env = surroundings(**environment, **measured())
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


def command_line(process: psutil.Process) -> list[str]:
    """Return the command line; an empty one if the process has ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def program(process: psutil.Process) -> str:
    """Return the name of the file that the process executes; an empty one if it has ended."""
    try:
        return Path(process.exe()).name
    except psutil.NoSuchProcess:
        return ""


def find_child(module: str, data: Path) -> psutil.Process:
    """Return our child that runs this module of Callboard with this data folder.

    Raises:
        LookupError: There is none.
    """
    for child in psutil.Process().children():
        if command_line(child)[-2:] == ["-m", module] and child.environ().get("CALLBOARD_DATA_DIR") == str(data):
            return child
    raise LookupError(module)


def find_temporal(data: Path) -> psutil.Process:
    """Return our child that is the Temporal server of this data folder.

    Raises:
        LookupError: There is none.
    """
    for child in psutil.Process().children():
        if str(data / "temporal.db") in command_line(child):
            return child
    raise LookupError("temporal")


def most_memory(pid: int) -> int:
    """The most bytes of memory that a process has ever had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024
