"""Running a program to its end, and killing it if it takes too long or nobody waits for it any more."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path


@dataclass(frozen=True)
class ProcessResult:
    """The exit code of a program that has ended, and its output."""

    code: int
    stdout: str
    stderr: str


async def run_process(
    command: Sequence[str | Path], *, cwd: Path, environment: Mapping[str, str], timeout: timedelta
) -> ProcessResult:
    """Run `command`, and kill it with all that it started when the caller is cancelled or the time is over.

    Raises:
        TimeoutError: It did not end in time.
        OSError: It cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        *(str(part) for part in command),
        cwd=cwd,
        env=dict(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # This gives the command a process group of its own.
    )
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return ProcessResult(await process.wait(), out.decode(errors="replace"), err.decode(errors="replace"))
