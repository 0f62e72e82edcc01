"""What an Attempt may leave in the process: found, ended if that is possible, else a reason to recycle the Machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path

ATTEMPT: ContextVar[int] = ContextVar("attempt", default=0)
"""Set in the context of the user's task, and so inherited by every task that it starts."""

_TASKS_WITHIN = 1.0
_THREAD_WITHIN = 0.1
"""Seconds that leftovers get to end."""


class Leftovers:
    """What there was before the Attempt, to hold against what there is after it."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._threads = set(threading.enumerate())
        self._processes = _processes()
        self._executor = _fresh_default_executor()

    async def end(self) -> str | None:
        """End the tasks and idle threads of the Attempt. What would not end, in words; None if all is clean."""
        tasks = {
            task for task in asyncio.all_tasks() if task.get_context().get(ATTEMPT) == self._number and not task.done()
        }
        for task in tasks:
            task.cancel()
        if tasks and (await asyncio.wait(tasks, timeout=_TASKS_WITHIN))[1]:
            return "tasks that do not end"
        self._executor.shutdown(wait=False, cancel_futures=True)
        _fresh_default_executor()
        for thread in set(threading.enumerate()) - self._threads:
            thread.join(_THREAD_WITHIN)
            if thread.is_alive():
                return "threads"
        if _processes() - self._processes:
            return "processes"
        return None


def _fresh_default_executor() -> ThreadPoolExecutor:
    """What `asyncio.to_thread` runs on; its threads start with the first use."""
    executor = ThreadPoolExecutor()
    asyncio.get_running_loop().set_default_executor(executor)
    return executor


def _processes() -> set[int]:
    """Our children, and those that our keeper inherited from processes that ended."""
    found: set[int] = set()
    for parent in (os.getpid(), os.getppid()):
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found.update(int(pid) for pid in children.read_text().split() if _lives(int(pid)))
    return found


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
