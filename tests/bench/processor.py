"""Where the processor time of a Run goes, by the kind of process that takes it."""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

RENDERERS, USER, _SUPERVISOR = "renderers", "user processes", "supervisor"
_CHROMIUM, _ZYGOTE = "Chromium beside its renderers", "zygote of user code"
_KINDS = (
    ("keeper.py", "keeper and network"),
    ("network_launcher.py", "keeper and network"),
    ("run-driver", "Playwright's driver"),
    ("start-dev", "Temporal"),
    ("bench.bare", "worker and api"),
    ("-m worker", "worker and api"),
    ("-m api", "worker and api"),
    ("main.py supervisor", _SUPERVISOR),
    ("main.py zygote", _ZYGOTE),
    ("pasta", "keeper and network"),
)
"""Words of a command line, and what the process is. The first that fits counts: keepers name what they start, too."""
_ENDED = {_CHROMIUM: RENDERERS, _ZYGOTE: USER}
"""What those children of a kind of process are that come and go with Runs."""
KINDS = (*dict.fromkeys(kind for _, kind in _KINDS), USER, _CHROMIUM, RENDERERS, "others")
"""All kinds, in the order of a table."""

type _Times = dict[psutil.Process, tuple[str, float, float]]


@dataclass
class Usage:
    """What Runs of one way take, in processor seconds by kind of process."""

    name: str
    once: Callable[[], Awaitable[object]]
    roots: frozenset[psutil.Process]
    """The processes that serve this way, each with all that it has started."""
    runs: int = 0
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    async def measure(self, runs: int) -> None:
        """Execute Runs one after the other, and add what they take.

        If a Machine ends meanwhile, they are not counted: what was in its boxes tells nobody what it has taken.
        """
        await self.once()  # It warms up again, after the other ways had their turn.
        before = _read(self.roots)
        for _ in range(runs):
            await self.once()
        after = _read(self.roots)
        if any(before[process][0] == _SUPERVISOR for process in before.keys() - after.keys()):
            return
        for process, (kind, own, ended) in after.items():
            _, own_before, ended_before = before.pop(process, (kind, 0.0, 0.0))
            self.seconds[kind] += own - own_before
            self.seconds[_ENDED.get(kind, kind)] += ended - ended_before
        for kind, own, ended in before.values():  # They have ended, and their parents tell all that they ever took.
            self.seconds[kind] -= own + ended
        self.runs += runs

    def milliseconds(self, kind: str | None = None) -> float:
        """Return the mean of a Run, of one kind of process or of all; not a number if no Run was counted."""
        seconds = sum(self.seconds.values()) if kind is None else self.seconds[kind]
        return seconds * 1000 / self.runs if self.runs else math.nan


def _read(roots: Iterable[psutil.Process]) -> _Times:
    """Return of each process its kind, and the processor seconds of itself and of its ended children."""
    found: _Times = {}
    todo = [(root, "others") for root in roots]
    while todo:
        process, parent = todo.pop()
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            kind = _kind(process.cmdline(), parent)
            found[process] = (kind, times.user + times.system, times.children_user + times.children_system)
            todo += [(child, kind) for child in process.children()]
    return found


def _kind(command: list[str], parent: str) -> str:
    line = " ".join(command)
    if "chrom" in Path(line.split(" ")[0]).name:
        return RENDERERS if "--type=renderer" in line else _CHROMIUM
    kind = next((kind for words, kind in _KINDS if words in line), parent)
    return USER if (kind, parent) in {(_ZYGOTE, _ZYGOTE), (USER, USER)} else kind
