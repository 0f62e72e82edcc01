"""The worker's handle on a keeper: start one, hear how its child ended, have everything killed."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machines import keeper, sweep
from schemas.workflow.attempt import AttemptUsage

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
    """One keeper process. `ended` is set once the whole tree is gone and the scratch folder removed.

    Not asyncio's own kind of subprocess: that kills its process when it is dropped, as it is when a worker dies of
    an error of its own; and a keeper that is killed cannot keep anything.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        pipe: asyncio.ReadTransport,
        words: asyncio.StreamReader,
        scratch: Path,
    ) -> None:
        self._process = process
        self._pipe = pipe
        self._scratch = scratch
        self._attempt: asyncio.Future[AttemptUsage | None] | None = None
        self._listening = asyncio.create_task(self._listen(words), name=f"keeper {process.pid}")
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
            process = subprocess.Popen(  # noqa: ASYNC220  # asyncio's kind is no quicker: it does the same
                [
                    *(sys.executable, "-I", "-S", keeper.__file__, str(scratch), str(memory_limit), str(child_fd)),
                    *command,
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                pass_fds=(child_fd,),
                env=dict(environment),
                start_new_session=True,  # a Ctrl-C in the worker's terminal is the worker's to handle
            )
        except BaseException:
            await asyncio.to_thread(sweep.scratch, scratch)
            raise
        words = asyncio.StreamReader()
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(words), process.stdout
        )
        return cls(process, pipe, words, scratch)

    @property
    def pid(self) -> int:
        """Process id of the keeper."""
        return self._process.pid

    def attempt_end(self) -> asyncio.Future[AttemptUsage | None]:
        """Comes when the Attempt that begins now has ended, and its log is whole: what it took.

        None: the keeper has gone without a word of it.
        """
        self._attempt = asyncio.get_running_loop().create_future()
        if self._listening.done():
            self._attempt.set_result(None)
        return self._attempt

    async def kill(self) -> None:
        """Have everything killed and wait until it is gone. Bounded; a second call waits for the same end."""
        self._hang_up()
        await self.wait()

    async def wait(self) -> None:
        """Wait until the tree is gone: the keeper reports it, or has died and we look after it ourselves."""
        try:
            await asyncio.wait_for(asyncio.shield(self._listening), _GONE_WITHIN)
        except TimeoutError:
            self._process.send_signal(signal.SIGKILL)
            await asyncio.shield(self._listening)

    async def ended(self) -> None:
        """Wait, without bound, until the tree is gone by itself."""
        await asyncio.shield(self._listening)

    def _hang_up(self) -> None:
        """The end of its input tells the keeper; there is nothing to wait for on our side."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def _listen(self, words: asyncio.StreamReader) -> None:
        gone = False
        async for line in words:
            message: dict[str, Any] = json.loads(line)
            if "exited" in message:
                self.child_end = ChildEnd(exit_code=message["exited"], output=message["tail"])
            elif "memory" in message:
                self.child_end = ChildEnd(out_of_memory=True)
            elif "ended" in message:
                self._attempt_ended(AttemptUsage.model_validate(message["ended"]))
            gone = gone or "gone" in message
        self._attempt_ended(None)
        self._hang_up()
        self._pipe.close()  # not every loop does that at the end of what comes
        await asyncio.to_thread(self._process.wait)  # what it has said last, it has said when it ended
        if not gone:  # killed from outside, or it met processes that would not die
            await asyncio.to_thread(sweep.scratch, self._scratch)

    def _attempt_ended(self, usage: AttemptUsage | None) -> None:
        if self._attempt is not None and not self._attempt.done():
            self._attempt.set_result(usage)


def _make_scratch(folder: Path) -> None:
    for name in ("tmp", "home"):
        (folder / name).mkdir(parents=True)
