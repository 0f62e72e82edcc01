"""The keeper of one Machine: a process above the child that lets nothing outlive it.

It runs on the standard library alone, as a script of its own. It is a child subreaper (Linux), so whatever the
child's descendants do (detach, start a session, lose their parent), they stay below the keeper. When told, when
the worker's pipe closes (the worker has died), or when the child has ended, it kills all descendants until none is
left, removes the Machine's scratch folder and exits. It also watches the memory of the whole tree.

    argv    SCRATCH MEMORY_LIMIT CHILD_FD COMMAND…
    stdin   anything, or its end: stop everything
    stdout  one JSON object a line: {"pid"} at the start, then at most one {"exited", "tail"} (negative: a signal) or
            {"memory"} (bytes at which the limit was passed), last {"gone": true} or {"left": [pid]}
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_MEMORY_INTERVAL = 0.5
"""Seconds between two looks at the tree's memory."""
_KILL_WITHIN = 10.0
"""Seconds after which processes that do not die (stuck in the kernel) are given up and named."""
_TAIL = 4096
"""Bytes of the child's last output that are kept, to explain a child that would not start."""
_OOM_SCORE = "300"
"""Where memory runs out, the kernel should take a Machine before a worker."""


def descendants(root: int) -> list[int]:
    """All processes below `root`, by one pass over /proc: a look, not a promise, as processes come and go meanwhile."""
    below: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208  # as for _read
        if name.isdigit() and (stat := _read(f"/proc/{name}/stat")):
            # The command, in parentheses, may hold spaces and parentheses of its own: cut behind the last.
            parent = int(stat.rpartition(b")")[2].split(maxsplit=2)[1])
            below.setdefault(parent, []).append(int(name))
    found: list[int] = []
    queue = [root]
    while queue:
        children = below.get(queue.pop(), [])
        found += children
        queue += children
    return found


def _read(path: str) -> bytes:
    """A small file of /proc; nothing if its process is gone. Without pathlib: it runs for every process of the host."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 16384)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def kill_all(within: float = _KILL_WITHIN) -> list[int]:
    """Kill and reap everything below this process until nothing is left; the processes that would not die.

    Whatever loses its parent becomes our child. So when the kernel says that we have no children, nothing is left.
    """
    deadline = time.monotonic() + within
    while True:
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if _reap():
            return []
        if time.monotonic() > deadline:
            return descendants(os.getpid())
        time.sleep(0.005)  # SIGKILL is carried out by the kernel; there is no event for "the whole tree is gone"


def _reap() -> bool:
    """Reap what has ended; whether there are no children any more."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return True
    return False


def remove(folder: str) -> None:
    """Delete a folder, also where user code has taken our permissions away. What cannot be deleted stays."""
    shutil.rmtree(folder, ignore_errors=True)
    if os.path.lexists(folder):
        locked = [folder]
        while locked:
            with contextlib.suppress(OSError):
                path = locked.pop()
                Path(path).chmod(0o700)
                locked += [entry.path for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False)]
        shutil.rmtree(folder, ignore_errors=True)


def memory(root: int) -> int:
    """Bytes of anonymous memory (what the processes made themselves; shared code is not counted) below `root`."""
    total = 0
    for pid in descendants(root):
        for line in _read(f"/proc/{pid}/status").splitlines():
            if line.startswith(b"RssAnon:"):
                total += int(line.split()[1]) * 1024
                break
    return total


class Keeper:
    """One child, its tree, its scratch folder."""

    def __init__(self, scratch: str, memory_limit: int, child_fd: int, command: list[str]) -> None:
        self._scratch = scratch
        self._memory_limit = memory_limit
        self._tail = b""
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(child_fd,),
            cwd=scratch,
        )
        os.close(child_fd)  # the child's alone: its end must show at the worker

    def run(self) -> None:
        """Watch until there is a reason to stop; then stop everything."""
        _say({"pid": self._child.pid})
        with contextlib.suppress(OSError):  # not allowed in some containers, and only an advice
            Path(f"/proc/{self._child.pid}/oom_score_adj").write_text(_OOM_SCORE)
        try:
            self._watch()
        finally:
            left = kill_all()
            remove(self._scratch)
            _say({"left": left} if left else {"gone": True})

    def _watch(self) -> None:
        output = self._child.stdout
        if output is None:
            raise RuntimeError("the child was started without a pipe for its output")
        wake_r, wake_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _noop)
        os.set_blocking(output.fileno(), False)
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ)
            selector.register(wake_r, selectors.EVENT_READ)
            selector.register(output, selectors.EVENT_READ)
            looked = time.monotonic()
            while True:
                for key, _ in selector.select(_MEMORY_INTERVAL):
                    if key.fd == 0:
                        os.read(0, 64)  # an order, or the end of the worker: the same to us
                        return
                    if key.fd == wake_r:
                        os.read(wake_r, 512)
                    elif not self._drain(output.fileno()):
                        selector.unregister(output)
                if self._ended():
                    return
                if time.monotonic() - looked >= _MEMORY_INTERVAL:
                    looked = time.monotonic()
                    used = memory(os.getpid())
                    if used > self._memory_limit:
                        _say({"memory": used})
                        return

    def _drain(self, fd: int) -> bool:
        """Take what the child's tree printed, so that it never blocks on it; False at the end."""
        try:
            chunk = os.read(fd, 65536)
        except BlockingIOError:
            return True
        self._tail = (self._tail + chunk)[-_TAIL:]
        return bool(chunk)

    def _ended(self) -> bool:
        """Whether the child has ended; strays that were handed to us are reaped on the way."""
        while (peek := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if peek.si_pid == self._child.pid:
                if self._child.stdout:
                    self._drain(self._child.stdout.fileno())
                _say({"exited": self._child.wait(), "tail": self._tail.decode(errors="replace")})
                return True
            os.waitpid(peek.si_pid, 0)
        return False


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
    Keeper(scratch, int(memory_limit), int(child_fd), command).run()


if __name__ == "__main__":
    main()
