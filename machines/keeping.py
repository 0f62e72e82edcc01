"""The worker's handle on a keeper: start one, hear how its child ended, have everything killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machines import keeper, sweep

_GONE_WITHIN = 12.0
"""Seconds that a keeper has to kill everything: it gives up by itself after ten."""


@dataclass(frozen=True)
class ChildEnd:
    """Why a Machine's child is gone, as its keeper saw it."""

    exit_code: int | None = None
    """As subprocess gives it: negative for a signal. None: we had it killed, or the keeper died."""
    out_of_memory: bool = False
    output: str = ""
    """The last it printed; may hold anything that user code prints."""


class Keeping:
    """One keeper process. `ended` is set once the whole tree is gone and the scratch folder removed."""

    def __init__(self, process: asyncio.subprocess.Process, scratch: Path) -> None:
        self._process = process
        self._scratch = scratch
        self._listening = asyncio.create_task(self._listen(), name=f"keeper {process.pid}")
        self.child_end = ChildEnd()

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        scratch: Path,
        child_fd: int,
        memory_limit: int,
        environment: Mapping[str, str],
    ) -> Keeping:
        """Make the scratch folder, start a keeper, and `command` below it.

        `child_fd` stays open in the child and is ours to close. Not to be canceled before it returns.

        Raises:
            OSError: It could not be done; nothing of it is left.
        """
        try:
            await asyncio.to_thread(_make_scratch, scratch)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-I", "-S", keeper.__file__, str(scratch), str(memory_limit), str(child_fd)),
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                pass_fds=(child_fd,),
                env=dict(environment),
                start_new_session=True,  # a Ctrl-C in the worker's terminal is the worker's to handle
            )
        except BaseException:
            await asyncio.to_thread(sweep.scratch, scratch)
            raise
        return cls(process, scratch)

    @property
    def pid(self) -> int:
        """Process id of the keeper."""
        return self._process.pid

    async def kill(self) -> None:
        """Have everything killed and wait until it is gone. Bounded; a second call waits for the same end."""
        if self._process.stdin is not None:
            with contextlib.suppress(ConnectionError):
                self._process.stdin.close()  # its end tells the keeper; nothing to wait for on our side
        await self.wait()

    async def wait(self) -> None:
        """Wait until the tree is gone: the keeper reports it, or has died and we look after it ourselves."""
        try:
            await asyncio.wait_for(asyncio.shield(self._listening), _GONE_WITHIN)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):  # it ends at this very moment
                self._process.send_signal(signal.SIGKILL)
            await asyncio.shield(self._listening)

    async def ended(self) -> None:
        """Wait, without bound, until the tree is gone by itself."""
        await asyncio.shield(self._listening)

    async def _listen(self) -> None:
        gone = False
        stdout = self._process.stdout
        if stdout is None:
            raise RuntimeError("the keeper was started without a pipe for its output")
        async for line in stdout:
            message: dict[str, Any] = json.loads(line)
            if "exited" in message:
                self.child_end = ChildEnd(exit_code=message["exited"], output=message["tail"])
            elif "memory" in message:
                self.child_end = ChildEnd(out_of_memory=True)
            gone = gone or "gone" in message
        await self._process.wait()
        if not gone:  # killed from outside, or it met processes that would not die
            await asyncio.to_thread(sweep.scratch, self._scratch)


def _make_scratch(folder: Path) -> None:
    for name in ("tmp", "home"):
        (folder / name).mkdir(parents=True)
