"""Keepers for tests: run as the script that a keeper is, over a child that is a few lines of Python."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from callboard.machines import keeper
from tests.support.machines import PATIENCE, of_folder

GIB = 1024**3
SLEEPS = "import time; print('hello', flush=True); time.sleep(600)"
TELL = """
import json, os, socket, time
keeper = socket.socket(fileno=os.dup(0))
def tell(**said):
    keeper.sendall(json.dumps(said).encode() + b"\\n")
"""
IDLES = f"{TELL}tell(kind='idle'); {SLEEPS}"


class KeeperHandle:
    """A keeper over a child that is a few lines of Python."""

    def __init__(
        self,
        scratch: Path,
        code: str,
        memory_limit: int = GIB,
        disk_limit: int = GIB,
        *,
        group: Path | None = None,
        deadline: float = math.inf,
    ) -> None:
        scratch.mkdir()
        self.scratch = scratch
        self.group = group
        ours, theirs = os.pipe()
        os.close(ours)
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", keeper.__file__),
                *map(str, (scratch, memory_limit, disk_limit, group or "", deadline, theirs)),
                *(sys.executable, "-I", "-S", "-c", code),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(theirs,),
            env={"TMPDIR": f"{scratch}/tmp"},
        )
        os.close(theirs)

    def hear(self) -> dict[str, Any]:
        """The next message, but for those about memory, which come every few seconds."""
        while "memory" in (message := self.hear_any()):
            pass
        return message

    def hear_any(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def hang_up(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def ends(self) -> None:
        """It has said all, ends well, and nothing is left."""
        assert self.hear() == {"gone": True}
        assert of_folder(self.scratch) in ([], [self.process.pid])
        assert not self.scratch.exists()
        assert self.process.wait(PATIENCE) == 0

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()


def wakes(pid: int) -> int:
    """How often a process has been woken, or has woken up by itself."""
    return psutil.Process(pid).num_ctx_switches().voluntary


Keep = Callable[..., KeeperHandle]


@contextmanager
def keepers(folder: Path) -> Generator[Keep]:
    """Start keepers in this folder. All of them have ended afterwards, and left nothing."""
    kept: list[KeeperHandle] = []

    def start(code: str, **fields: Any) -> KeeperHandle:
        kept.append(KeeperHandle(folder / f"scratch-{len(kept)}", code, **fields))
        return kept[-1]

    yield start
    for one in kept:
        for stream in (one.process.stdin, one.process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):  # its reader has ended
                stream.close()
        one.process.wait(PATIENCE)
        assert of_folder(one.scratch) == []
