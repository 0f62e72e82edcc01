"""What a Machine's processes take: memory, processor, and what its browser reads from the network.

Linux, and the standard library alone, as the keeper needs it. A look at every process of a host that is busy costs many
milliseconds; so mostly only those are looked at that are ours, or have come since.
"""

from __future__ import annotations

import os
import resource
import time
from typing import Any

from machines.tree import below, fields_of, parent_of, pids, read

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_UTIME, _CSTIME = 11, 14
"""Places in `stat`: own time as a user and in the kernel, and the same of children that were waited for."""
_NETWORK_SERVICE = b"--utility-sub-type=network.mojom.NetworkService"
"""In the command line of the process of Chromium that has all its connections."""
_WHOLE_EVERY = 10.0
"""Seconds after which every process is looked at anew: the number of one that has ended may have been given to ours."""


class Meter:
    """Measures what is below `root`. Processor time is right only if that is this process."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._others: set[int] = set()
        """Processes that are not ours, as of the last whole look or since."""
        self._whole_at = 0.0
        self._ours: dict[int, bytes] = {}
        """`stat` of those that are."""
        self._settled: set[int] = set()
        """Those of ours that will stay what they are: no network services."""
        self._networks: set[int] = set()
        self._read_before: dict[int, int] = {}
        self._read: dict[int, int] = {}
        """Bytes, of each network service: as the Attempt began, and as of the last look."""
        self._cpu_before = 0.0
        self._peak = 0

    def look(self) -> int:
        """Bytes of memory that the tree has made itself. Shared code is not counted."""
        self._find()
        self._see_network()
        return self._see_memory()

    def begin(self) -> None:
        """What is taken from here on is the Attempt's."""
        self._find()
        self._peak = 0
        self._see_memory()
        self._read = {}
        self._see_network()
        self._read_before = dict(self._read)
        self._cpu_before = self._cpu()

    def usage(self) -> dict[str, Any]:
        """What was taken since: `peak_memory`, `cpu_seconds`, `bytes_received` (None if that cannot be known)."""
        self._find()
        self._see_memory()
        self._see_network()
        received = {pid: now - self._read_before.get(pid, 0) for pid, now in self._read.items()}
        return {
            "peak_memory": self._peak,
            "cpu_seconds": round(max(self._cpu() - self._cpu_before, 0), 2),
            "bytes_received": sum(received.values()) if received else None,
        }

    def _find(self) -> None:
        if (now := time.monotonic()) - self._whole_at >= _WHOLE_EVERY:
            self._whole_at = now
            self._others.clear()
        seen = set(pids())
        self._others &= seen
        stats = {pid: stat for pid in seen - self._others if (stat := read(f"/proc/{pid}/stat"))}
        parents = {pid: parent_of(stat) for pid, stat in stats.items()}
        known = self._ours.keys()
        self._ours = {pid: stats[pid] for pid in below(self._root, parents)}
        # Whose parent has just ended is asked again: it will have another, which may be ours.
        there = self._others | stats.keys() | {0}
        self._others |= {pid for pid in parents.keys() - self._ours.keys() if parents[pid] in there}
        self._networks &= self._ours.keys()
        # When it begins, a process has its parent's command line for a moment: the young are looked at twice.
        young = self._ours.keys() - self._networks - self._settled
        self._settled = self._settled & self._ours.keys() | young & known
        self._networks |= {pid for pid in young if _NETWORK_SERVICE in read(f"/proc/{pid}/cmdline")}

    def _cpu(self) -> float:
        """Seconds of processor that the tree has had; what of it has ended is with whoever waited for that."""
        ticks = sum(sum(map(int, fields_of(stat)[_UTIME : _CSTIME + 1])) for stat in self._ours.values())
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return ticks / _TICKS + ended.ru_utime + ended.ru_stime

    def _see_memory(self) -> int:
        used = sum(_anonymous(pid) for pid in self._ours)
        self._peak = max(self._peak, used)
        return used

    def _see_network(self) -> None:
        for pid in self._networks:
            if (count := _read_by(pid)) is not None:
                self._read[pid] = count


def _anonymous(pid: int) -> int:
    """Bytes of memory that a process has made itself: what is resident without what is of files or shared."""
    counts = read(f"/proc/{pid}/statm").split()
    return (int(counts[1]) - int(counts[2])) * _PAGE if counts else 0


def _read_by(pid: int) -> int | None:
    """Bytes that a process has read, from sockets above all; None if we may not know, or it is gone."""
    name, _, count = read(f"/proc/{pid}/io").partition(b"\n")[0].partition(b": ")
    return int(count) if name == b"rchar" else None
