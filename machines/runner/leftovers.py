"""What an Attempt may leave in the process: found, ended if that is possible, else a reason to recycle the Machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor

_TASKS_WITHIN = 1.0
_THREAD_WITHIN = 0.1
"""Seconds that leftovers get to end."""


class Leftovers:
    """What there was before the Attempt, to hold against what there is after it."""

    def __init__(self) -> None:
        # Not by a context variable: handlers of Playwright's events do not run in the context of who set them.
        self._tasks = asyncio.all_tasks()
        self._threads = set(threading.enumerate())
        self._processes = processes_beside()
        self._executor = _fresh_default_executor()

    async def end(self) -> str | None:
        """End the tasks and idle threads of the Attempt. What would not end, in words; None if all is clean.

        The task that calls must be older than the Attempt.
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
        if processes_beside() - self._processes:
            return "processes"
        return None


def _fresh_default_executor() -> ThreadPoolExecutor:
    """What `asyncio.to_thread` runs on; its threads start with the first use."""
    executor = ThreadPoolExecutor()
    asyncio.get_running_loop().set_default_executor(executor)
    return executor


def processes_beside() -> set[int]:
    """Our children, and those that our keeper has: itself us, and whatever lost its parent. Without zombies."""
    parents = {str(os.getpid()).encode(), str(os.getppid()).encode()}
    found: set[int] = set()
    for name in os.listdir("/proc"):  # noqa: PTH208  # this and the next lines run for every process of the host
        if name.isdigit():
            with contextlib.suppress(OSError):
                descriptor = os.open(f"/proc/{name}/stat", os.O_RDONLY)
                try:
                    state, parent = os.read(descriptor, 4096).rpartition(b")")[2].split(maxsplit=2)[:2]
                finally:
                    os.close(descriptor)
                if parent in parents and state not in {b"Z", b"X"}:
                    found.add(int(name))
    return found
