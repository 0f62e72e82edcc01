"""Record each execution of user code in a file of its own, which is locked for as long as its process lives.

The file says when the execution began and, if it ended by itself, when and how. An observer on the host sees by the
lock when one has ended that was killed.
"""

import contextlib
import fcntl
import json
import os
import time
import uuid
from pathlib import Path

from deployed import NUMBER, PROJECT
from intuned_runtime import run_info


class Execution:
    """One execution of user code, which is named by a token that nobody else has."""

    def __init__(self, kind):
        began = time.monotonic()
        folder = Path(os.environ["CHAOS_FOLDER"])
        self.token = uuid.uuid4().hex
        unlocked = folder / "unlocked" / self.token
        self._file = os.open(unlocked, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        info = run_info()
        self._write(
            run_id=info.run_id,
            parent_run_id=info.parent_run_id,
            project=PROJECT,
            deploy=NUMBER,
            kind=kind,
            began=began,
        )
        unlocked.rename(folder / "executions" / self.token)

    def end(self, how):
        self._write(ended=time.monotonic(), how=how)

    def _write(self, **fields):
        os.write(self._file, json.dumps(fields).encode() + b"\n")


@contextlib.contextmanager
def executed(kind):
    """Record an execution of this kind: `api`, `check` or `create`."""
    execution = Execution(kind)
    try:
        yield execution
    except BaseException:
        execution.end("raised")
        raise
    execution.end("returned")
