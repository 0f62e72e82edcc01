"""Running a program to its end, and ending it if it takes too long or nobody waits for it any more."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from callboard.machines.uncancellable import uncancellable


async def run_in_thread[**P, R](work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run `work` like `asyncio.to_thread`, but let a cancelled caller continue only when the thread has ended.

    A thread cannot be stopped, and whoever removes the folder that it works in must wait for it. So `work` has to take
    bounded time by itself.
    """
    return await uncancellable(asyncio.to_thread(work, *args, **kwargs))


_MOST_OUTPUT = 16 * 1024 * 1024
"""Most bytes that are kept of each stream of a program: what uv says of the largest projects is far less."""
_GONE_WITHIN = 12.0
"""Seconds in which a program that is told to end has ended, with all that it has started; it gives up after ten."""


@dataclass(frozen=True)
class ProcessResult:
    """The exit code of a program that has ended, and its output, of which the end is lost if it is very long."""

    code: int
    stdout: str
    stderr: str


async def run_process(
    command: Sequence[str | Path], *, cwd: Path, environment: Mapping[str, str], timeout: timedelta
) -> ProcessResult:
    """Run `command`, and end it with all that it started when the caller is cancelled or the time is over.

    It is one of `callboard.machines.package_box`, which ends when its standard input does, and `environment` is all
    that it has.

    Raises:
        TimeoutError: It did not end in time.
        OSError: It cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        *(str(part) for part in command),
        cwd=cwd,
        env=dict(environment),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # This gives the command a process group of its own.
    )
    streams = [stream for stream in (process.stdout, process.stderr) if stream is not None]
    reading = asyncio.gather(*map(_read, streams))
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            out, err = await asyncio.shield(reading)
            code = await process.wait()
    finally:
        await uncancellable(_end(process))
        reading.cancel()
    return ProcessResult(code, out.decode(errors="replace"), err.decode(errors="replace"))


async def _read(stream: asyncio.StreamReader) -> bytes:
    kept = bytearray()
    while piece := await stream.read(64 * 1024):
        kept += piece[: _MOST_OUTPUT - len(kept)]
    return bytes(kept)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Tell the process to end, if it has not, and wait until it has."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_GONE_WITHIN):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
