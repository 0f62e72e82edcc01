"""The keeper of one Machine: a process above the child that lets nothing outlive it.

It runs on the standard library alone, as a script of its own. It is a child subreaper (Linux), so whatever the
child's descendants do (detach, start a session, lose their parent), they stay below the keeper. When told, when
the worker's pipe closes (the worker has died), or when the child has ended, it kills all descendants until none is
left, removes the Machine's scratch folder and exits. It also watches the memory of the whole tree, and takes in what
that prints: into a file for each Attempt, so that a worker that is slow holds up nothing, and that the last words of a
child which was killed are there, too.

    argv    SCRATCH MEMORY_LIMIT CHILD_FD COMMAND…
    stdin   anything, or its end: stop everything
    stdout  one JSON object a line: {"pid"} at the start, {"ended": {…}} (what it took, see `meter`) when an Attempt has
            ended and its log is whole, then at most one {"exited", "tail"} (negative: a signal) or {"memory"} (bytes at
            which the limit was passed), last {"gone": true} or {"left": [pid]}
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # A script finds what lies beside it here, behind the standard library, and nothing else of ours.
    sys.path.append(str(Path(__file__).parents[1]))

from machines.intake import Intake
from machines.meter import Meter
from machines.runner.removal import remove
from machines.scheduling import give_way
from machines.transcript import Transcript
from machines.tree import descendants, kill_all
from security.inspection import forbid_inspection

__all__ = ["descendants", "kill_all", "remove"]

_PR_SET_CHILD_SUBREAPER = 36
_LOOK_INTERVAL = 0.5
"""Seconds between two looks at what the tree takes."""
_TAIL = 4096
"""Bytes of the child's last output that are kept, to explain a child that would not start."""
_CHUNK = 65536
_LAST_CHUNKS = 256
"""When everything is gone, a pipe holds no more than this; but somebody outside may have its other end."""
_OOM_SCORE = "300"
"""Where memory runs out, the kernel should take a Machine before a worker."""


class Keeper:
    """One child, its tree, its scratch folder."""

    def __init__(self, scratch: str, memory_limit: int, child_fd: int, command: list[str]) -> None:
        self._scratch = scratch
        self._memory_limit = memory_limit
        self._tail = b""
        self._intake = Intake(self._printed, self._told)
        self._meter = Meter(os.getpid())
        self._busy = False
        """An Attempt has begun, and not ended."""
        self._transcript: Transcript | None = None
        """Of that Attempt."""
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(child_fd,),
            cwd=scratch,
            preexec_fn=_offer_to_the_kernel,  # no other thread is here, so a hook between fork and exec is safe
        )
        os.close(child_fd)  # the child's alone: its end must show at the worker
        if self._child.stdout is None:
            raise RuntimeError("the child was started without a pipe for its output")
        self._output = self._child.stdout.fileno()
        os.set_blocking(self._output, False)

    def run(self) -> None:
        """Watch until there is a reason to stop; then stop everything."""
        _say({"pid": self._child.pid})
        try:
            self._watch()
        finally:
            usage = self._meter.usage() if self._busy else None
            left = kill_all()
            self._drain_rest()
            self._intake.end()
            if self._busy:
                self._end(usage or self._meter.usage())
            remove(self._scratch)
            _say({"left": left} if left else {"gone": True})

    def _watch(self) -> None:
        wake_r, wake_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _noop)
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ)
            selector.register(wake_r, selectors.EVENT_READ)
            selector.register(self._output, selectors.EVENT_READ)
            looked = time.monotonic()
            while True:
                for key, _ in selector.select(_LOOK_INTERVAL):
                    if key.fd == 0:
                        os.read(0, 64)  # an order, or the end of the worker: the same to us
                        return
                    if key.fd == wake_r:
                        os.read(wake_r, 512)
                    elif self._drain() == b"":
                        selector.unregister(self._output)
                if self._ended():
                    return
                if time.monotonic() - looked >= _LOOK_INTERVAL:
                    looked = time.monotonic()
                    used = self._meter.look()
                    if used > self._memory_limit:
                        _say({"memory": used})
                        return

    def _drain(self) -> bytes | None:
        """Take what the child's tree printed, so that it never blocks on it; nothing at its end, None until more."""
        try:
            chunk = os.read(self._output, _CHUNK)
        except BlockingIOError:
            return None
        self._intake.feed(chunk)
        return chunk

    def _drain_rest(self) -> None:
        """Take what is there."""
        for _ in range(_LAST_CHUNKS):
            if not self._drain():
                return

    def _printed(self, data: bytes) -> None:
        self._tail = (self._tail + data)[-_TAIL:]
        if self._transcript is not None:  # else it is of an Attempt that has ended, whose result is on its way
            self._transcript.text(data)

    def _told(self, kind: str, said: dict[str, Any]) -> None:
        """The child has said something; see `intake`."""
        match kind:
            case "B":
                self._busy = True
                self._meter.begin()
                with contextlib.suppress(OSError):  # without a place for it there is no log, and the worker says so
                    self._transcript = Transcript(said["file"], said["limit"]) if said["file"] else None
            case "E" if self._busy:
                self._end(self._meter.usage())
            case "L" if self._transcript is not None:
                self._transcript.say(said["level"], said["source"], said["message"], said.get("cut"))
            case _:
                pass

    def _end(self, usage: dict[str, Any]) -> None:
        """The Attempt has ended: its log is whole."""
        self._busy = False
        if self._transcript is not None:
            self._transcript.close()
            self._transcript = None
        _say({"ended": usage})

    def _ended(self) -> bool:
        """Whether the child has ended; strays that were handed to us are reaped on the way."""
        while (peek := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if peek.si_pid == self._child.pid:
                self._drain_rest()
                _say({"exited": self._child.wait(), "tail": self._tail.decode(errors="replace")})
                return True
            os.waitpid(peek.si_pid, 0)
        return False


def _offer_to_the_kernel() -> None:
    """Let this process and all below it be the first to go where memory runs out.

    Only the process itself can do that at any time: once it has forbidden inspection, its files in /proc are root's.
    """
    with contextlib.suppress(OSError):  # not allowed in some containers, and only an advice
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)


def _noop(_signal: int, _frame: object) -> None:
    """Does nothing: a handler must be set for the wake-up descriptor to work."""


def _say(message: dict[str, object]) -> None:
    with contextlib.suppress(OSError):  # the worker has gone; nobody listens
        os.write(1, json.dumps(message).encode() + b"\n")


def main() -> None:
    """See the module's docstring."""
    scratch, memory_limit, child_fd, *command = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot become a child subreaper")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Only the worker, or its end, stops a keeper. A handler and not SIG_IGN, which the child would inherit.
        signal.signal(number, _noop)
    give_way()
    keeper = Keeper(scratch, int(memory_limit), int(child_fd), command)
    forbid_inspection()  # not before: the child must be able to write its own files in /proc until it is executed
    keeper.run()


if __name__ == "__main__":
    main()
