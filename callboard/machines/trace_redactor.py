"""Mask the traces of Attempts in processes beside the worker, whose memory and time are bounded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from callboard.machines import trace_redaction
from callboard.machines.trace_redaction import RedactionOptions, TraceError
from callboard.schemas.workflow.attempt import TracePicture

KEPT_IDLE = 4
"""Most idle processes that are kept for the next trace.

Each takes some 15 MB, and to start one takes as much time as to mask an ordinary trace. The number of working processes
is that of the Attempts that end at the same time.
"""
_GRACE = 10.0
"""Seconds beyond the worker's own time limit after which a process ends itself."""


@dataclass(frozen=True)
class RedactedTrace:
    """A trace that was written."""

    picture: TracePicture | None
    """Where the last picture of its film lies; None if it has none."""


class TraceRedactor:
    """The masking processes of one worker. Close it when no trace is being masked any more."""

    def __init__(self) -> None:
        self._idle: list[Process] = []
        self._closed = False

    async def redact(
        self, folder: Path, target: Path, options: RedactionOptions, *, within: timedelta
    ) -> RedactedTrace | None:
        """Write one masked trace to `target` from those that a Machine left in `folder`; return None if it left none.

        Args:
            folder: The folder with the traces; see `trace_redaction.parts_in`.
            target: The file to create. What is there after an error is not a trace.
            options: How the traces are redacted.
            within: How long that may take.

        Raises:
            TraceError: What is there is no trace, or takes more than a trace may.
            TimeoutError: The redaction has taken too long.
            OSError: The disk failed.
        """
        request = {
            "folder": str(folder),
            "target": str(target),
            "secrets": sorted(options.masker.secrets),
            "limit": options.limit,
            "root": options.root,
            "cookies": options.cookies,
            "seconds": within.total_seconds() + _GRACE,
        }
        async with asyncio.timeout(within.total_seconds()):
            process = self._waiting() or await _start()
            try:
                answer = await _ask(process, request)
            except BaseException:
                await _kill(process)
                raise
        # A trace that was too much may have damaged the process: only one that has succeeded is used again.
        await self._put_back(process, reusable="found" in answer)
        match answer:
            case {"found": False}:
                return None
            case {"found": True, "picture": None}:
                return RedactedTrace(None)
            case {"found": True, "picture": [int(begin), int(size)]}:
                return RedactedTrace(TracePicture(begin=begin, size=size))
            case {"trace": str(sentence)}:
                raise TraceError(sentence)
            case {"disk": [number, text]}:
                raise OSError(number, text)
            case _:
                raise TraceError("The process that was to mask it has died of it.")

    async def close(self) -> None:
        """End all processes."""
        self._closed = True
        while self._idle:
            await _kill(self._idle.pop())

    def _waiting(self) -> Process | None:
        while self._idle:
            process = self._idle.pop()
            if process.returncode is None:  # else it was killed, for example by the kernel when memory ran out
                return process
        return None

    async def _put_back(self, process: Process, *, reusable: bool) -> None:
        if reusable and not self._closed and len(self._idle) < KEPT_IDLE:
            self._idle.append(process)
        else:
            await _kill(process)


async def _start() -> Process:
    try:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", trace_redaction.__file__),
            stdin=PIPE,
            stdout=PIPE,
            env={},
            cwd="/",
            start_new_session=True,  # a Ctrl-C in the worker's terminal is the worker's to handle
        )
    except OSError as error:
        raise TraceError(f"The process that is to mask it could not be started: {error.strerror}.") from error


async def _ask(process: Process, request: dict[str, Any]) -> dict[str, Any]:
    """Send the request to a process and return its answer; an empty one if the process has died."""
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the process was started without pipes")
    with contextlib.suppress(ConnectionError):
        process.stdin.write(json.dumps(request).encode() + b"\n")
        await process.stdin.drain()
    line = await process.stdout.readline()
    return json.loads(line) if line.endswith(b"\n") else {}


async def _kill(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
