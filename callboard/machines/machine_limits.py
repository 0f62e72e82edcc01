"""The limits of one Machine: memory, disk, files and processes. Its keeper ends it when one of them is passed.

This module uses the standard library alone, as the keeper needs it.
"""

from __future__ import annotations

import os
import resource
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from callboard.machines import cgroups
from callboard.machines.resource_usage import Meter
from callboard.machines.runner.inner_box import MOST_FILES

MOST_PROCESSES = 1000
"""Most processes of a Machine. A browser with many tabs has some dozens."""
MOST_THREADS = 2500
"""Most threads of all processes of a Machine. Each tab has some dozen."""
_NO_CORE = 1
"""Bytes that the image of a crashed process may have. The kernel writes no file as small as that; and where a program
takes the images, as systemd's does, it gets them with a limit of 0, but not with this one."""
_DISK_EVERY = 5.0
"""Seconds between two looks at the disk."""
_DISK_SHARE = 20
"""Part of the keeper's time that looking at the disk may take, as there may be very many files."""
_DISK_SHARE_IN_DOUBT = 2
"""The same where so much has been used on the file system since the last look that a limit may be passed."""


@dataclass(frozen=True)
class Passed:
    """A limit that was passed."""

    limit: str
    """`memory`, `disk`, `files` or `processes`."""
    used: int
    message: str
    """What is said of it in the Attempt's log."""


class MachineLimits:
    """The limits of one Machine, and what is looked at rarely to hold it to them."""

    def __init__(self, scratch: str, memory: int, disk: int, group: Path | None) -> None:
        """Make the Machine's control group, if it gets one. Raises OSError."""
        self._group = group
        if group is not None:
            cgroups.make(group, memory, MOST_THREADS)
        self._scratch = scratch
        self._memory = memory
        self._disk = disk
        self._disk_next = self._disk_in_doubt_next = time.monotonic() + _DISK_EVERY
        self._least = (0, 0)
        """Free bytes and free files of the file system; with less, the Machine may have passed a limit."""

    def impose(self) -> None:
        """Have the kernel hold this process, and all that it starts, to what it can. Raises OSError."""
        if self._group is not None:
            cgroups.enter(self._group)
        for what, most in ((resource.RLIMIT_FSIZE, self._disk), (resource.RLIMIT_CORE, _NO_CORE)):
            _, hard = resource.getrlimit(what)
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(what, (most, most))

    def passed(self, meter: Meter) -> Passed | None:
        """Measure now, and return the limit that is passed; None if none is."""
        used = meter.look(self._memory)
        if (passed := self.met()) is not None:
            return passed
        if used > self._memory:
            message = f"The Machine uses {used} bytes of memory; its limit is {self._memory} bytes."
            return Passed("memory", used, message)
        if (number := meter.processes) > MOST_PROCESSES:
            return Passed("processes", number, f"The Machine has {number} processes; its limit is {MOST_PROCESSES}.")
        if (number := meter.threads) > MOST_THREADS:
            return Passed("processes", number, f"The Machine has {number} threads; its limit is {MOST_THREADS}.")
        return self._passed_on_disk()

    def _passed_on_disk(self) -> Passed | None:
        """Look at the disk, but seldom, and return the limit that is passed there; None if none is.

        A look at many files on a busy disk takes seconds, and until the next one a process makes very many more. What
        is free on the whole file system tells at once whether they can be too many; it is others' doing, too.
        """
        now, free = time.monotonic(), _free(self._scratch)
        in_doubt = any(left < least for left, least in zip(free, self._least, strict=True))
        if now < (self._disk_in_doubt_next if in_doubt else self._disk_next):
            return None
        used, files = used_below(self._scratch, MOST_FILES)
        ended = time.monotonic()
        self._disk_next = ended + max(_DISK_EVERY, (ended - now) * _DISK_SHARE)
        self._disk_in_doubt_next = ended + (ended - now) * _DISK_SHARE_IN_DOUBT
        self._least = (free[0] - self._disk + used, free[1] - MOST_FILES + files)
        if files > MOST_FILES:
            return Passed("files", files, f"The Machine has more than {MOST_FILES} files and folders, its limit.")
        message = f"The files of the Machine take {used} bytes of disk; their limit is {self._disk} bytes."
        return Passed("disk", used, message) if used > self._disk else None

    def met(self) -> Passed | None:
        """Return the limit that the kernel has enforced before we could measure that it was passed; None if none."""
        if self._group is None or not cgroups.memory_kills(self._group):
            return None
        message = f"The memory of the Machine was used up; its limit is {self._memory} bytes."
        return Passed("memory", self._memory, message)

    def end(self) -> None:
        """End the control group, and every process that is still in it. This blocks."""
        if self._group is not None:
            with suppress(OSError):  # the keeper reports what does not die
                cgroups.end(self._group)


def _free(folder: str) -> tuple[int, int]:
    """Return the free bytes and the free files of a file system. One that does not count files says 0 of these."""
    space = os.statvfs(folder)
    return space.f_bfree * space.f_frsize, space.f_ffree


def used_below(folder: str, most: int) -> tuple[int, int]:
    """Return the bytes on disk of everything below a folder, and how many files and folders that is.

    What cannot be read is left out, and a file of several names takes its bytes once. If there are more than `most`,
    no more are looked at.
    """
    total, number = 0, 0
    linked: set[tuple[int, int]] = set()
    folders = [folder]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                number += 1
                if number > most:
                    return total, number
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif status.st_nlink > 1:
                        if (file := (status.st_dev, status.st_ino)) in linked:
                            continue
                        linked.add(file)
                    total += status.st_blocks * 512
    return total, number
