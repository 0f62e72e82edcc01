"""The worker's handle on a keeper process: start one, hear how its child ended, have everything killed.

Where a keeper has died without doing that, `clean_up` ends what still runs of its Machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callboard.machines import cgroups, keeper
from callboard.machines.lease import Lease
from callboard.machines.runner.folders import OF_DRIVER, remove
from callboard.machines.runner.process_tree import descendants, has_ended, pids
from callboard.schemas.workflow.attempt import AttemptUsage

_GONE_WITHIN = 12.0
"""Seconds that a keeper gets to kill everything; it gives up by itself after ten."""
_ENDED_WITHIN = 10.0
"""Seconds that the processes of a Machine get to end where their keeper has died."""


@dataclass(frozen=True)
class ChildEnd:
    """The end of a Machine's child, as its keeper saw it: the reason why the child is gone."""

    exit_code: int | None = None
    """The exit code as `subprocess` gives it: negative for a signal. None: we had it killed, or the keeper died."""
    limit: str | None = None
    """What the keeper has ended everything for: `memory`, `disk`, `files` or `processes` for such a limit that was
    passed, and `lease` for the end of the worker's lease."""
    used: int = 0
    """How much of `memory`, `disk`, `files` or `processes` was used then."""
    output: str = ""
    """The end of what the child printed; it may hold anything that user code prints."""


class KeeperProcess:
    """Handle of one keeper process. `ended` returns once the whole tree is gone and the scratch folder removed.

    This does not use asyncio's own subprocesses: these kill their process when they are dropped, which happens when a
    worker dies of an error of its own; and a keeper that was killed cannot clean up.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        pipe: asyncio.ReadTransport,
        words: asyncio.StreamReader,
        scratch: Path,
        group: Path | None,
        lease: Lease,
    ) -> None:
        self._process = process
        self._group = group
        self._pipe = pipe
        self._scratch = scratch
        self._attempt: asyncio.Future[AttemptUsage | None] | None = None
        self._listening = asyncio.create_task(self._listen(words), name=f"keeper {process.pid}")
        self._unfollow = lease.follow(self._tell_deadline)
        self._tell_deadline(lease.deadline)  # it may have moved while the process was started
        self.child_end = ChildEnd()
        self.memory = 0
        """Bytes that the tree had allocated when the keeper has told it last; it does so every few seconds."""

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        scratch: Path,
        child_fds: Sequence[int],
        memory_limit: int,
        disk_limit: int,
        group: Path | None,
        lease: Lease,
        environment: Mapping[str, str],
    ) -> KeeperProcess:
        """Make the scratch folder, and start a keeper with `command` below it.

        The limits are in bytes. `group` is the folder of the control group that the keeper makes, if there is one.
        The descriptors `child_fds` stay open in the child, and the caller keeps its own copies. Do not cancel this
        before it returns.

        Raises:
            OSError: The folder or the process could not be made; nothing of them is left.
        """
        try:
            await asyncio.to_thread(_make_scratch, scratch)
            process = subprocess.Popen(  # noqa: ASYNC220  # asyncio does the same, and is no quicker
                [
                    *(sys.executable, "-I", "-S", keeper.__file__),
                    *map(str, (scratch, memory_limit, disk_limit, group or "", lease.deadline)),
                    ",".join(map(str, child_fds)),
                    *command,
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                pass_fds=child_fds,
                env=dict(environment),
                start_new_session=True,  # a Ctrl-C in the worker's terminal is the worker's to handle
            )
        except BaseException:
            await asyncio.to_thread(clean_up, scratch)
            raise
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
        words = asyncio.StreamReader()
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(words), process.stdout
        )
        return cls(process, pipe, words, scratch, group, lease)

    @property
    def pid(self) -> int:
        """Process id of the keeper."""
        return self._process.pid

    def attempt_end(self) -> asyncio.Future[AttemptUsage | None]:
        """Return a future of what the Attempt that begins now used.

        It is resolved when the Attempt has ended and its log is whole; to None if the keeper has gone without telling.
        """
        self._attempt = asyncio.get_running_loop().create_future()
        if self._listening.done():
            self._attempt.set_result(None)
        return self._attempt

    async def kill(self) -> None:
        """Have everything killed and wait, in bounded time, until it is gone. A second call waits for the same end."""
        self._hang_up()
        await self.wait()

    async def wait(self) -> None:
        """Wait until the tree is gone: the keeper reports it, or has died and we clean up ourselves."""
        try:
            await asyncio.wait_for(asyncio.shield(self._listening), _GONE_WITHIN)
        except TimeoutError:
            self._process.send_signal(signal.SIGKILL)
            await asyncio.shield(self._listening)

    async def ended(self) -> None:
        """Wait, without bound, until the tree is gone by itself."""
        await asyncio.shield(self._listening)

    def _hang_up(self) -> None:
        """Tell the keeper to stop everything by closing its input; there is nothing to wait for on our side."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _tell_deadline(self, deadline: float) -> None:
        """Tell the keeper until when its Machine may live. It hears nothing if it is ending, or is stopped for long."""
        stdin = self._process.stdin
        if stdin is not None and not stdin.closed:
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                stdin.write(f"{deadline}\n".encode())

    async def _listen(self, words: asyncio.StreamReader) -> None:
        gone = False
        async for line in words:
            message: dict[str, Any] = json.loads(line)
            if "exited" in message:
                limit, used = self.child_end.limit, self.child_end.used  # it may end by itself once it has saved
                self.child_end = ChildEnd(message["exited"], limit, used, message["tail"])
            elif "limit" in message:
                self.child_end = ChildEnd(limit=message["limit"], used=message["used"])
            elif "memory" in message:
                self.memory = message["memory"]
            elif "ended" in message:
                self._attempt_ended(AttemptUsage.model_validate(message["ended"]))
            gone = gone or "gone" in message
        self._attempt_ended(None)
        self._unfollow()
        self._hang_up()
        self._pipe.close()  # not every event loop does that when the output ends
        await asyncio.to_thread(self._process.wait)  # the keeper ends as soon as it has sent its last message
        if not gone:  # the keeper was killed from outside, or met processes that would not die
            await asyncio.to_thread(clean_up, self._scratch, self._group)

    def _attempt_ended(self, usage: AttemptUsage | None) -> None:
        if self._attempt is not None and not self._attempt.done():
            self._attempt.set_result(usage)


def _make_scratch(folder: Path) -> None:
    for name in OF_DRIVER:
        (folder / name).mkdir(parents=True)


def clean_up(folder: Path, group: Path | None = None) -> None:
    """End every process of the Machine whose scratch folder is `folder`, then remove the folder.

    With the folder of its control group, if it has one, no process is missed, and the group is removed, too.

    This blocks, so call it in a thread. Processes of a Machine were started with the folder in `TMPDIR` or `HOME`, or
    are below one that was. Keeper and child forbid reading their environment, and have the folder in their arguments.
    A process for which user code has changed that, and which outlives its parent and a killed keeper, is not found.
    """
    if group is not None:
        with contextlib.suppress(OSError):  # what does not die by that is looked for below
            cgroups.end(group)
    deadline = time.monotonic() + _ENDED_WITHIN
    dying: set[int] = set()
    while time.monotonic() < deadline:
        # Parents may be gone before their children: every process that was found once is waited for.
        dying = {pid for pid in dying if not has_ended(pid)} | set(processes_of(folder))
        if not dying:
            break
        for pid in dying:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)  # there is no event for the end of a process that is not our child
    remove(folder)


def processes_of(folder: Path) -> list[int]:
    """Return the live processes that were started with `folder` in their environment or arguments, and all below them.

    Those below are included because Chromium's own processes overwrite their environment with their title.
    """
    in_environment, as_argument = f"={folder}/".encode(), f"\0{folder}\0".encode()
    found = {
        pid
        for pid in pids()
        if pid != os.getpid()
        and (as_argument in _read(f"/proc/{pid}/cmdline") or in_environment in _read(f"/proc/{pid}/environ"))
    }
    below = {pid for parent in found for pid in descendants(parent)}
    return sorted(pid for pid in found | below if not has_ended(pid))


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError:  # we may not read it, or its process is gone
        return b""
