"""The keeper of one Machine: a process above the child that lets nothing outlive it.

The keeper runs on the standard library alone, as a script of its own. It is a child subreaper (Linux), so whatever the
child's descendants do (detach, start a session, lose their parent), they stay below the keeper. When told to, when
the worker's pipe closes (the worker has died), or when the child has ended, it kills all descendants until none is
left, saves the files of an Attempt that ran, removes the Machine's scratch folder and exits. It also watches what the
whole process tree takes, and writes what the tree prints to a file for each Attempt. So a slow worker holds up nothing,
and the last words of a killed child are kept. If the tree takes too much memory while an Attempt runs, the child gets a
moment to end user code and to save what the Attempt leaves.

    argv    SCRATCH MEMORY_LIMIT DISK_LIMIT GROUP DEADLINE CHILD_FDS COMMAND…
            (GROUP is the folder of a control group, or ""; CHILD_FDS are the child's descriptors, with commas)
    stdin   a number on a line is a new deadline; anything else, or its end, means: stop everything
    stdout  one JSON object a line: {"pid"} at the start, {"ended": {…}} (its usage, see `Meter.usage`) when an Attempt
            has ended and its log is whole, {"memory"} (bytes) every few seconds, then at most one {"exited", "tail"}
            (negative: a signal) or {"limit", "used"} (`memory`, `disk`, `files` or `processes`, and how much it
            was; `lease`),
            last {"gone": true} or {"left": [pid]}

The deadline is the end of the worker's lease, by CLOCK_BOOTTIME (`inf` for none). The keeper ends everything then,
since a worker that is stopped cannot, and another worker may be given its Attempts.

The child's standard input is a socket to the keeper, which user code does not have. Over it come JSON objects, one a
line: {"kind": "begin", "file", "limit"} when an Attempt begins, with the file of its log and most of its bytes,
{"kind": "end"} when it has ended; {"kind": "idle"} when no code of the project runs any more, until an Attempt begins
or {"kind": "busy"} comes. The keeper sends one JSON object {"limit", "used"}, with the name of a limit that was passed,
and how much it was.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # A script can import our packages from this folder, after the standard library, and nothing else of ours.
    sys.path.append(str(Path(__file__).parents[2]))

from callboard.machines.lease import boottime
from callboard.machines.log_writer import LogWriter, OutputDemux, Said
from callboard.machines.machine_limits import MachineLimits, Passed
from callboard.machines.resource_usage import Meter
from callboard.machines.runner.confinement import join_new_session_keyring
from callboard.machines.runner.folders import remove, take_files
from callboard.machines.runner.inner_box import adopt_orphans
from callboard.machines.runner.process_tree import descendants, kill_all, read
from callboard.machines.scheduling import give_way
from callboard.security.inspection import forbid_inspection

__all__ = ["descendants", "kill_all", "remove"]

_LOOK_INTERVAL = 0.5
"""Seconds between two measurements of what the process tree uses."""
_IDLE_INTERVAL = 5.0
"""The same where no code of the project runs, and seconds between two reports to the worker of how much memory the tree
has allocated."""
_TAIL = 4096
"""Bytes of the child's last output that are kept, to explain why a child did not start."""
_CHUNK = 65536
_LAST_CHUNKS = 256
"""Most chunks that are read at the end. A pipe holds no more, but a process outside the tree could go on writing."""
_SHRINK_WITHIN = 1.0
"""Seconds after which the tree must be within its limit again, as its child has ended user code."""
_SAVE_WITHIN = 3.0
"""Seconds that the child gets to save what is left of an Attempt that has passed a limit."""
_LOOK_OFTEN = 0.05
"""Seconds between two measurements in that time."""
_RENDERER = b"--type=renderer"
"""Argument by which a Chromium process that has pages is recognized."""
_OOM_SCORE = "300"
"""OOM score of a Machine's processes: when memory runs out, the kernel should kill a Machine before a worker."""


class Keeper:
    """The keeper of one child, its process tree and its scratch folder."""

    def __init__(
        self, scratch: str, limits: MachineLimits, deadline: float, child_fds: list[int], command: list[str]
    ) -> None:
        self._scratch = scratch
        self._limits = limits
        self._deadline = deadline
        self._from_worker = b""
        """What has come from the worker since the last end of a line."""
        self._tail = b""
        self._supervisor, theirs = socket.socketpair()
        self._supervisor.setblocking(False)  # noqa: FBT003
        self._from_supervisor = b""
        """What has come from the supervisor since the last end of a line."""
        self._demux = OutputDemux(self._printed, self._said)
        self._meter = Meter(os.getpid())
        self._log: LogWriter | None = None
        """The log of the Attempt that runs; None while none does."""
        self._busy_since: float | None = time.monotonic()
        """Since when code of the project may run; None while the Machine is idle."""
        self._looked = time.monotonic()
        """When the tree was measured last."""
        self._evidence: Path | None = None
        """The folder for what that Attempt leaves."""
        self._report_at = 0.0
        """When to report the memory next."""
        self._over_since: float | None = None
        """When a limit was passed while an Attempt ran."""
        self._child = subprocess.Popen(
            command,
            stdin=theirs.fileno(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=child_fds,
            cwd=scratch,
            preexec_fn=self._before_the_child,  # there is no other thread, so a hook between fork and exec is safe
        )
        theirs.close()
        for descriptor in child_fds:  # only the child may hold them, so that the worker sees when the child ends
            os.close(descriptor)
        if self._child.stdout is None:
            raise RuntimeError("the child was started without a pipe for its output")
        self._output = self._child.stdout.fileno()
        os.set_blocking(self._output, False)

    def run(self) -> None:
        """Watch the child until there is a reason to stop; then stop everything."""
        _say({"pid": self._child.pid})
        try:
            self._watch()
        finally:
            usage = self._meter.usage() if self._log else None
            alive = kill_all()
            self._limits.end()
            self._hear()
            self._drain_rest()
            if self._log:
                self._end(self._log, usage or self._meter.usage())
                if self._evidence is not None:  # else the child has taken them when the Attempt ended
                    take_files(Path(self._scratch), self._evidence)
            remove(self._scratch)
            _say({"left": alive} if alive else {"gone": True})

    def _watch(self) -> None:
        wake_r, wake_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _noop)
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ)
            selector.register(wake_r, selectors.EVENT_READ)
            selector.register(self._output, selectors.EVENT_READ)
            selector.register(self._supervisor, selectors.EVENT_READ)
            go_on = True
            while True:
                due = min(self._look_at() - time.monotonic(), self._deadline - boottime())
                for key, _ in selector.select(max(0, due)):
                    if key.fd == wake_r:
                        os.read(wake_r, 512)
                    elif key.fd == 0:
                        go_on = go_on and self._follow(os.read(0, 4096))
                    elif not self._hear() and key.fileobj is self._supervisor:
                        selector.unregister(self._supervisor)
                    elif key.fileobj == self._output and self._drain() == b"":
                        selector.unregister(self._output)
                if not go_on or self._ended():
                    return
                if boottime() >= self._deadline:
                    _say({"limit": "lease", "used": 0})
                    return
                if (now := time.monotonic()) >= self._look_at() and not self._may_go_on(now):
                    return

    def _look_at(self) -> float:
        """Return when to measure the tree next."""
        if self._over_since is not None:
            return self._looked + _LOOK_OFTEN
        idle = self._looked + _IDLE_INTERVAL
        return idle if self._busy_since is None else min(idle, max(self._looked, self._busy_since) + _LOOK_INTERVAL)

    def _follow(self, said: bytes) -> bool:
        """Take over a new deadline, and return whether to go on: False once the worker says stop, or has ended."""
        *lines, self._from_worker = (self._from_worker + said).split(b"\n")
        try:
            self._deadline = [self._deadline, *map(float, lines)][-1]
            float(self._from_worker or 0)
        except ValueError:
            return False
        return said != b""

    def _may_go_on(self, now: float) -> bool:
        """Measure the tree, and tell whether it may go on; it may also for a moment after it has passed a limit."""
        self._looked = now
        passed = self._limits.passed(self._meter)
        if now >= self._report_at:
            self._report_at = now + _IDLE_INTERVAL
            _say({"memory": self._meter.memory})
        if self._over_since is not None:
            over = now - self._over_since
            return over < _SAVE_WITHIN and (over < _SHRINK_WITHIN or passed is None)
        if passed is None:
            return True
        self._say_passed(passed)
        return self._log is not None and self._let_it_save(now, passed)

    def _say_passed(self, passed: Passed) -> None:
        _say({"limit": passed.limit, "used": passed.used})
        if self._log:
            self._log.say("error", "callboard", passed.message)

    def _let_it_save(self, now: float, passed: Passed) -> bool:
        """Tell the child which limit was passed; return False if it cannot hear that."""
        self._over_since = now
        try:
            self._supervisor.send(json.dumps({"limit": passed.limit, "used": passed.used}).encode())
        except OSError:
            return False
        # The child can end user code, but no page. Without that process, the browser can still give the trace.
        largest = self._meter.largest()
        if passed.limit == "memory" and _RENDERER in read(f"/proc/{largest}/cmdline"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(largest, signal.SIGKILL)
        return True

    def _before_the_child(self) -> None:
        """Prepare the process that becomes the child, between fork and exec."""
        _offer_to_the_kernel()
        self._limits.impose()

    def _drain(self) -> bytes | None:
        """Read what the child's tree printed, so that it never blocks on a full pipe.

        Return what was read: empty at the end of the output, None if there is nothing to read now.
        """
        try:
            chunk = os.read(self._output, _CHUNK)
        except BlockingIOError:
            return None
        self._demux.feed(chunk)
        return chunk

    def _drain_rest(self) -> None:
        """Read all that was printed and not read yet, up to a limit."""
        for _ in range(_LAST_CHUNKS):
            if not self._drain():
                break
        self._demux.end()

    def _printed(self, data: bytes) -> None:
        self._tail = (self._tail + data)[-_TAIL:]
        if self._log:  # else the Attempt has ended already, and its result is on its way
            self._log.text(data)

    def _said(self, said: Said) -> None:
        if self._log:
            self._log.say(*said)

    def _hear(self) -> bool:
        """Handle what the supervisor has sent; return False if it will send nothing more.

        This is done before output is read: all that was printed after a message was sent is read after it.
        """
        try:
            data = self._supervisor.recv(_CHUNK)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        *lines, self._from_supervisor = (self._from_supervisor + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message["kind"] == "begin":
                self._begin(message["file"], message["limit"])
            elif message["kind"] in ("idle", "busy"):
                self._busy_since = time.monotonic() if message["kind"] == "busy" else None
            elif self._log:
                self._drain_rest()  # what the Attempt has printed is in the pipe
                self._end(self._log, self._meter.usage())
        return data != b""

    def _begin(self, file: str | None, limit: int) -> None:
        self._meter.begin()
        self._busy_since = time.monotonic()
        self._evidence = None if file is None else Path(file).parent
        try:
            self._log = LogWriter(file or os.devnull, limit)
        except OSError:  # the worker says that there is no log
            self._log = LogWriter(os.devnull, limit)

    def _end(self, log: LogWriter, usage: dict[str, Any]) -> None:
        """Close the log of the Attempt that has ended, and tell the worker that it is whole."""
        log.close()
        self._log = None
        _say({"ended": usage})

    def _ended(self) -> bool:
        """Tell whether the child has ended, and reap ended processes that have become our children on the way."""
        while (peek := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if peek.si_pid == self._child.pid:
                self._drain_rest()
                if self._over_since is None and (met := self._limits.met()) is not None:
                    self._say_passed(met)
                _say({"exited": self._child.wait(), "tail": self._tail.decode(errors="replace")})
                return True
            os.waitpid(peek.si_pid, 0)
        return False


def _offer_to_the_kernel() -> None:
    """Have the kernel kill this process and all below it first when memory runs out.

    Only the process itself can do that at any time: once it has forbidden inspection, its files in /proc are root's.
    """
    with contextlib.suppress(OSError):  # some containers forbid it, and it is only a hint to the kernel
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)


def _noop(_signal: int, _frame: object) -> None:
    """Do nothing: a handler must be set for the wake-up descriptor to work."""


def _say(message: dict[str, object]) -> None:
    with contextlib.suppress(OSError):  # the worker is gone; nobody listens
        os.write(1, json.dumps(message).encode() + b"\n")


def main() -> None:
    """Run the keeper of one Machine; the module's docstring describes its arguments and streams."""
    scratch, memory, disk, group, deadline, child_fds, *command = sys.argv[1:]
    adopt_orphans()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Only the worker, or its end, stops a keeper. A handler is set and not SIG_IGN, which the child would inherit.
        signal.signal(number, _noop)
    give_way()
    join_new_session_keyring()
    limits = MachineLimits(scratch, int(memory), int(disk), Path(group) if group else None)
    try:
        keeper = Keeper(scratch, limits, float(deadline), [*map(int, child_fds.split(","))], command)
    except BaseException:
        limits.end()
        raise
    forbid_inspection()  # not earlier: until its exec, the child must be able to write its own files in /proc
    keeper.run()


if __name__ == "__main__":
    main()
