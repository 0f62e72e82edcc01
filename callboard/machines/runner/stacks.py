"""Tell where an automation stands, by frames of the project.

If its event loop runs, its task says so itself: the stack of the task, and of each task that it waits for in turn.
Python's public way to ask that (`asyncio.capture_call_graph`) came with 3.14, and only says who awaits a task. So this
reads what asyncio's tasks and futures hold, which is the same in all these versions.

If the process blocks or has crashed, `faulthandler` has written the stack. The process of user code has written it, so
it may be anything.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import linecache
import re
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from callboard_runtime.failures import MESSAGE_LIMIT, STACK_LIMIT, shown

_MOST = 10
"""Most tasks that are shown of those that the automation waits for."""
_LOOKED_AT = 1_000
"""Most tasks that are looked at, as an automation may wait for any number of them."""
_ROOM = STACK_LIMIT - MESSAGE_LIMIT
_MORE = "More tasks are awaited.\n"

_STEPS = {"async_generator_asend", "async_generator_athrow"}
"""What is awaited for the next value of a generator, which it holds, and does not tell."""

_THREAD = re.compile(r"^(?:Current thread|Thread|Stack) [^\n]*\(most recent call first\):\n", re.MULTILINE)
_FRAME = re.compile(r'  File "([^"\n]*)", line (\d+) in ([^\n]*)\n')


def waiting_at(task: asyncio.Task[Any], root: Path) -> str:
    """Return the stack at which a task waits, and those of tasks that it waits for, with frames of the project.

    It is in the form of `failures.stack_of`, and empty if no frame is in the project's code.
    """
    text = shown(traceback.StackSummary.extract(_lines(_frames(task))), root)
    for number, (awaited, stack) in enumerate(_awaited_in_project(task, root)):
        name = getattr(awaited.get_coro(), "__qualname__", "?")
        part = f"It awaits task {awaited.get_name()!r}, {name}:\n{stack}"
        if number == _MOST or len(text) + len(part) + len(_MORE) > _ROOM:
            return text + _MORE
        text += part
    return text


def _awaited_in_project(task: asyncio.Task[Any], root: Path) -> Iterator[tuple[asyncio.Task[Any], str]]:
    """Yield the tasks that a task waits for, itself or by others, and that are in the project, with their stacks."""
    seen: set[asyncio.Future[Any]] = {task}
    todo: list[asyncio.Future[Any]] = _awaited(task)
    while todo and len(seen) < _LOOKED_AT:
        future = todo.pop(0)
        if future in seen:
            continue
        seen.add(future)
        # What such a task waits for is shown right behind it.
        todo[:0] = _awaited(future)
        if isinstance(future, asyncio.Task):
            stack = shown(traceback.StackSummary.extract(_lines(_frames(future))), root)
            if stack:
                yield future, stack


def _frames(task: asyncio.Task[Any]) -> list[FrameType]:
    """Return the frames of a task that waits, the outermost first."""
    frames: list[FrameType] = []
    inner: Any = task.get_coro()
    while True:
        if inspect.iscoroutine(inner) and inner.cr_frame is not None:
            frames.append(inner.cr_frame)
            inner = inner.cr_await
        elif inspect.isasyncgen(inner) and inner.ag_frame is not None:
            frames.append(inner.ag_frame)
            inner = inner.ag_await
        elif type(inner).__name__ in _STEPS:
            inner = next(filter(inspect.isasyncgen, gc.get_referents(inner)), None)
        else:
            return frames


def _lines(frames: list[FrameType]) -> Iterator[tuple[FrameType, int]]:
    return ((frame, frame.f_lineno) for frame in frames)


def _awaited(future: asyncio.Future[Any]) -> list[asyncio.Future[Any]]:
    """Return the futures, tasks among them, that must be done before this one can be; those that are not done yet."""
    found: list[Any] = [*getattr(future, "_children", ())]  # of `gather`
    if isinstance(future, asyncio.Task):
        found.append(getattr(future, "_fut_waiter", None))
        for frame in _frames(future)[-2:]:  # asyncio's own functions that wait for others are the innermost ones
            found += _awaited_by_asyncio(frame)
    else:
        found += _shielded(future)
    return [each for each in found if isinstance(each, asyncio.Future) and not each.done()]


def _awaited_by_asyncio(frame: FrameType) -> Iterable[Any]:
    """Return what a function of asyncio waits for; nothing for other functions."""
    if frame.f_globals.get("__name__") not in {"asyncio.tasks", "asyncio.taskgroups"}:
        return ()
    names = frame.f_locals
    match frame.f_code.co_name:
        case "_wait":
            return names["fs"]
        case "__aexit__" | "_aexit":  # of a TaskGroup
            return getattr(names["self"], "_tasks", ())
        case "_wait_for_one":  # of `as_completed`, whose form has changed in 3.13
            return names["todo"] if "todo" in names else getattr(names["self"], "_todo", ())
        case _:
            return ()


def _shielded(future: asyncio.Future[Any]) -> Iterator[Any]:
    """Return the futures that `shield` keeps from the cancel of this one: its callback holds them."""
    for callback, _ in getattr(future, "_callbacks", None) or ():
        if getattr(callback, "__qualname__", "").startswith("shield."):
            yield from (cell.cell_contents for cell in callback.__closure__)


def dumped_stack(dump: bytes, root: Path, project: Path) -> str:
    """Return the last stack in what `faulthandler` has written, as a traceback; empty if no frame is in the project.

    Args:
        dump: What it has written.
        root: The copy of the project that it runs in.
        project: The folder that the copy is of. LogLines of source are taken from there, as user code may have put
            anything into its copy.
    """
    text = dump.decode(errors="replace")
    last = text[[match.end() for match in _THREAD.finditer(text)][-1] :] if _THREAD.search(text) else ""
    frames: list[traceback.FrameSummary] = []
    at = 0
    while (match := _FRAME.match(last, at)) is not None:
        at = match.end()
        path, line, function = match[1], int(match[2]), match[3]
        source = _source(path, line, root, project)
        frames.append(traceback.FrameSummary(path, line, function, lookup_line=False, line=source))
    return shown(traceback.StackSummary.from_list(frames[::-1]), root)


def _source(path: str, line: int, root: Path, project: Path) -> str:
    if not path.startswith(f"{root}/") or ".." in Path(path).parts:
        return ""
    return linecache.getline(str(project / Path(path).relative_to(root)), line)
