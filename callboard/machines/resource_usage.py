"""Measure what a Machine's processes use: memory, processor, and what its browser reads from the network.

This works on Linux, with the standard library alone, as the keeper needs it. To look at every process of a busy host
costs many milliseconds; so mostly, only those are looked at that belong to the Machine or are new.
"""

from __future__ import annotations

import os
import resource
import time
from contextlib import suppress
from typing import Any

from callboard.machines.runner.process_tree import below, fields_of, parent_of, pids, read

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_UTIME, _CSTIME = 11, 14
"""First and last place in `stat` of the times: own user and kernel time, and those of children that were waited for."""
_THREADS = 17
"""Place in `stat` of the number of threads."""
_MEMORY_FILES_EVERY = 2.0
"""Seconds between two looks at the memory files that processes hold open: to look at every descriptor takes long."""
_NETWORK_SERVICE = b"--utility-sub-type=network.mojom.NetworkService"
"""Argument by which the Chromium process that holds all network connections is recognized."""
_WHOLE_EVERY = 60.0
"""Seconds after which every process is looked at anew even if no new process of ours can have got an old process id."""


class Meter:
    """Meter of the process tree below `root`. Processor time is right only if `root` is this process."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._others: set[int] = set()
        """Processes that are not ours, found by the last look at every process or since."""
        self._whole_at = 0.0
        self._last_id = 0
        """The process id that was given last. Ids are given in turn: once it has fallen, old ones are given again."""
        self._ours: dict[int, bytes] = {}
        """The `stat` of each process that is ours."""
        self._looked_at: set[int] = set()
        """Processes of ours that are known not to be network services, and need not be looked at again."""
        self._networks: set[int] = set()
        self._read_before: dict[int, int] = {}
        self._read: dict[int, int] = {}
        """Bytes that each network service had read: when the Attempt began, and at the last look."""
        self._cpu_before = 0.0
        self._peak = 0
        self.memory = 0
        """Bytes of memory that the tree had allocated for itself at the last look."""
        self._memory_files = 0
        self._memory_files_at = 0.0

    def look(self, limit: int) -> int:
        """Measure now, and return the bytes of memory that the tree has allocated: its own, and what it shares.

        Code and other files count for nothing. Of memory files (`memfd_create`), what is mapped and what is held open
        are not added up, as it may be the same. To know what is shared takes long, so what can be above `limit` is
        measured only: below it, the result is right in that it is not above it.
        """
        self._find()
        self._see_network()
        own = self._see_memory()
        if (held := self._see_memory_files()) and own + held > limit:
            return own + held
        for shared in (_shared, _shared_memory, _part_of_shared_memory):  # each is less, and takes longer
            used = own + sum(shared(pid) for pid in self._ours)
            if used <= limit:
                return used
        return used

    @property
    def processes(self) -> int:
        """Number of processes in the tree, at the last look."""
        return len(self._ours)

    @property
    def threads(self) -> int:
        """Number of threads of all processes in the tree, at the last look."""
        return sum(int(fields_of(stat)[_THREADS]) for stat in self._ours.values())

    def largest(self) -> int:
        """Return the process of the tree that had the most memory for itself at the last look; 0 if there is none."""
        return max(self._ours, key=_anonymous, default=0)

    def begin(self) -> None:
        """Begin to measure an Attempt: what is used from now on counts as its usage."""
        self._find()
        self._peak = 0
        self._see_memory()
        self._read = {}
        self._see_network()
        self._read_before = dict(self._read)
        self._cpu_before = self._cpu()

    def usage(self) -> dict[str, Any]:
        """Return what was used since `begin`.

        The keys are `peak_memory`, `cpu_seconds` and `bytes_received` (None if that cannot be known).
        """
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
        before, self._last_id = self._last_id, int((read("/proc/loadavg").split() or [0])[-1])
        if (now := time.monotonic()) - self._whole_at >= _WHOLE_EVERY or self._last_id < before:
            self._whole_at = now
            self._others.clear()
        seen = set(pids())
        self._others &= seen
        stats = {pid: stat for pid in seen - self._others if (stat := read(f"/proc/{pid}/stat"))}
        parents = {pid: parent_of(stat) for pid, stat in stats.items()}
        known = self._ours.keys()
        self._ours = {pid: stats[pid] for pid in below(self._root, parents)}
        # A process whose parent has just ended is looked at again, with all below it: it will get another parent, which
        # may be ours.
        there = self._others | stats.keys() | {0}
        orphans = [pid for pid, parent in parents.items() if parent not in there]
        moving = {*orphans, *(pid for orphan in orphans for pid in below(orphan, parents))}
        self._others |= parents.keys() - self._ours.keys() - moving
        self._networks &= self._ours.keys()
        # A new process has its parent's command line for a moment, so new ones are looked at twice.
        young = self._ours.keys() - self._networks - self._looked_at
        self._looked_at = self._looked_at & self._ours.keys() | young & known
        self._networks |= {pid for pid in young if _NETWORK_SERVICE in read(f"/proc/{pid}/cmdline")}

    def _cpu(self) -> float:
        """Return the processor seconds that the tree has used.

        The time of an ended process is counted by the process that has waited for it.
        """
        ticks = sum(sum(map(int, fields_of(stat)[_UTIME : _CSTIME + 1])) for stat in self._ours.values())
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return ticks / _TICKS + ended.ru_utime + ended.ru_stime

    def _see_memory(self) -> int:
        self.memory = sum(_anonymous(pid) for pid in self._ours)
        self._peak = max(self._peak, self.memory)
        return self.memory

    def _see_memory_files(self) -> int:
        """Return the bytes of memory files that processes hold open, as of a moment ago."""
        if (now := time.monotonic()) - self._memory_files_at >= _MEMORY_FILES_EVERY:
            self._memory_files_at = now
            sizes: dict[tuple[int, int], int] = {}
            for pid in self._ours:
                sizes |= _memory_files(pid)
            self._memory_files = sum(sizes.values())
        return self._memory_files

    def _see_network(self) -> None:
        for pid in self._networks:
            if (count := _read_by(pid)) is not None:
                self._read[pid] = count


def _anonymous(pid: int) -> int:
    """Return the bytes that a process has allocated itself: its resident memory without file and shared pages."""
    counts = read(f"/proc/{pid}/statm").split()
    return (int(counts[1]) - int(counts[2])) * _PAGE if counts else 0


def _shared(pid: int) -> int:
    """Return the bytes of memory, in a process, that others may have, too: files, and shared memory."""
    counts = read(f"/proc/{pid}/statm").split()
    return int(counts[2]) * _PAGE if counts else 0


def _shared_memory(pid: int) -> int:
    """Return the bytes of shared memory in a process."""
    return _kilobytes(read(f"/proc/{pid}/status"), b"RssShmem:")


def _part_of_shared_memory(pid: int) -> int:
    """Return the bytes of a process's part of the shared memory in it, which is divided among those that have it."""
    rollup = read(f"/proc/{pid}/smaps_rollup")
    return _kilobytes(rollup, b"Pss_Shmem:") if rollup else _shared_memory(pid)


def _memory_files(pid: int) -> dict[tuple[int, int], int]:
    """Return the bytes in memory of each memory file that a process holds open, by device and number of the file."""
    sizes: dict[tuple[int, int], int] = {}
    with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as descriptors:
        for descriptor in descriptors:
            with suppress(OSError):
                if os.readlink(descriptor.path).startswith("/memfd:"):  # noqa: PTH115  # no path object is needed
                    stat = os.stat(descriptor.path)  # noqa: PTH116
                    sizes[stat.st_dev, stat.st_ino] = stat.st_blocks * 512
    return sizes


def _kilobytes(text: bytes, name: bytes) -> int:
    """Return the number of bytes behind a name in a file of /proc, which tells them in kilobytes."""
    count = text.partition(name)[2].split(maxsplit=1)
    return int(count[0]) * 1024 if count else 0


def _read_by(pid: int) -> int | None:
    """Return the bytes that a process has read, from sockets above all; None if we may not know, or it is gone."""
    name, _, count = read(f"/proc/{pid}/io").partition(b"\n")[0].partition(b": ")
    return int(count) if name == b"rchar" else None
