"""Runs a program to its end, or kills it: when it takes too long, or when nobody waits for it any more."""

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
class Ended:
    """How a program ended, and what it printed."""

    code: int
    out: str
    err: str


async def run(command: Sequence[str | Path], *, cwd: Path, environment: Mapping[str, str], within: timedelta) -> Ended:
    """Run `command`. When cancelled, or when the time is over, it and all that it started are killed.

    Raises:
        TimeoutError: it did not end in time.
        OSError: it cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        *(str(part) for part in command),
        cwd=cwd,
        env=dict(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # so that its process group is its own
    )
    try:
        async with asyncio.timeout(within.total_seconds()):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return Ended(await process.wait(), out.decode(errors="replace"), err.decode(errors="replace"))
