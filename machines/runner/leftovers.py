"""Find what an Attempt leaves in the process and end it; what does not end is a reason to recycle the Machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_TASKS_WITHIN = 1.0
_THREAD_WITHIN = 0.1
"""Seconds that leftover tasks, and each leftover thread, get to end."""


class Leftovers:
    """Snapshot of tasks, threads and processes before the Attempt, to be compared with those after it."""

    def __init__(self) -> None:
        # A context variable would not do: handlers of Playwright's events do not run in the context that has set them.
        self._tasks = asyncio.all_tasks()
        self._threads = set(threading.enumerate())
        self._before = pids()
        self._executor = _fresh_default_executor()

    async def end(self) -> str | None:
        """End the tasks and idle threads of the Attempt.

        Return what has not ended, in words, or None if nothing is left. The calling task must be older than the
        Attempt.
        """
        tasks = asyncio.all_tasks() - self._tasks
        for task in tasks:
            task.cancel()
        if tasks and (await asyncio.wait(tasks, timeout=_TASKS_WITHIN))[1]:
            return "tasks that do not end"
        self._executor.shutdown(wait=False, cancel_futures=True)
        _fresh_default_executor()
        for thread in set(threading.enumerate()) - self._threads:
            with contextlib.suppress(RuntimeError, AssertionError):  # one that Python did not start cannot be joined
                thread.join(_THREAD_WITHIN)
            if thread.is_alive():
                return "threads"
        # Look at new processes only: to find the parent of each process of a busy host takes many milliseconds.
        if any(map(_is_beside, pids() - self._before)):
            return "processes"
        return None


def _fresh_default_executor() -> ThreadPoolExecutor:
    """Set and return a new executor for `asyncio.to_thread`, whose threads start with the first use."""
    executor = ThreadPoolExecutor()
    asyncio.get_running_loop().set_default_executor(executor)
    return executor


def pids() -> set[str]:
    """Return the ids of all processes of the host."""
    return {name for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208  # names are all that is needed


def _is_beside(pid: str) -> bool:
    """Tell whether a process is a live child of ours or of our keeper.

    The keeper's children are this process, and processes that have lost their parent. Zombies do not count.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    state, parent = stat.rpartition(b")")[2].split(maxsplit=2)[:2]
    return int(parent) in (os.getpid(), os.getppid()) and state not in {b"Z", b"X"}
