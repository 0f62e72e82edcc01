"""The inner box: namespaces of its own for one process of user code, so that what it leaves ends with it.

It is made within the box of the zygote (see `callboard.machines.box`). There, temporary folders are new and empty, and
so are shared memory and semaphores. Where it has a PID namespace, other processes are not there, and no further
namespaces can be made; there are two processes more then:

    zygote → a process that makes the namespaces, and ends
           → the first process in them, which reaps what ends there; with it, the kernel ends all of them
           → the process of user code

This module uses the standard library alone. Run as a script, with `processes` for a PID namespace, it tries all this.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import stat
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108  # these are the folders that are made new
"""Folders in which anybody may leave files."""

_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWPID = 0x00020000, 0x08000000, 0x10000000, 0x20000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT, _MS_BIND = 1, 2, 4, 8, 32, 4096
_MS_REC, _MS_PRIVATE = 16384, 1 << 18
_PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 4, 36
_CAPABILITY_VERSION = 0x20080522
_MOST_THREADS = 4096
"""Most processes and threads in the box, as far as the kernel holds this user to it: it never does that for root."""
MOST_FILES = 100_000
"""Most files and folders of a Machine; in the box's own temporary folders, as many again.

A Machine has some hundreds besides those of its project. A file system has a fixed number of files, which is used up
for everybody by empty ones that take no space at all.
"""
_STATUS_WITHIN = 1.0
"""Seconds in which the first process of a box tells the end of user code."""
_KEYS = ("/proc/keys", "/proc/key-users")
"""Files that name keys of the kernel, also those of other Machines and of the session that has started the worker."""
_STAGE = "/dev/shm"  # noqa: S108


@dataclass(frozen=True)
class InnerBox:
    """What an inner box is made of."""

    kept: list[str]
    """Folders and files that stay as they are, even if they lie in a folder that is made new."""
    hidden: list[str]
    """Further folders that are made new. They hold only what is kept."""
    size: int
    """Most bytes of all that is put into folders that were made new."""
    processes: bool
    """Whether it has a PID namespace of its own, and a /proc of that."""


@dataclass(frozen=True)
class Inside:
    """A process in an inner box, as the zygote knows it."""

    first: int
    """Process id of the first process in it."""
    status: int | None
    """Descriptor from which the wait status of the process of user code can be read, if it has ended by itself.

    None if there is no PID namespace, so that the first process is that of user code.
    """


def adopt_orphans() -> None:
    """Make this process the parent of all orphans below it, so that they can be found. Raises OSError."""
    _call_libc("prctl", ctypes.c_int(_PR_SET_CHILD_SUBREAPER), *map(ctypes.c_ulong, (1, 0, 0, 0)))


def fork(box: InnerBox | None, restrict: Callable[[], None], tell: Callable[[int], None]) -> Inside | None:
    """Fork this process, into a new inner box if one is wanted. Return None in the fork.

    This process must have one thread, and adopt orphans.

    Args:
        box: What the box is made of; None for a plain fork.
        restrict: Is called before there is a process of user code, to restrict it further.
        tell: Is called with a pidfd of that process, by us or by the first process in the box.

    Raises:
        OSError: The box cannot be made; what was forked has printed the reason.
    """
    if box is not None and box.processes:
        return _fork_processes(box, restrict, tell)
    user = os.fork()
    if user == 0:
        _run_or_exit(lambda: _enter(box, restrict))
        return None
    tell(os.pidfd_open(user))
    return Inside(user, None)


def _fork_processes(box: InnerBox, restrict: Callable[[], None], tell: Callable[[int], None]) -> Inside | None:
    """Fork as `fork`, into a PID namespace."""
    # Two pipes, as what two processes write into one may come in either order.
    made_read, made_write = os.pipe2(os.O_CLOEXEC)
    status_read, status_write = os.pipe2(os.O_CLOEXEC)
    maker = os.fork()
    if maker == 0:
        os.close(made_read)
        os.close(status_read)
        _run_or_exit(lambda: _make(box, restrict, tell, made_write, status_write))
        os.close(status_write)
        return None
    os.close(made_write)
    os.close(status_write)
    _, ended = os.waitpid(maker, 0)
    with open(made_read, "rb") as made:  # noqa: PTH123  # it is a descriptor
        first = int.from_bytes(made.read())
    if ended != 0 or not first:
        raise OSError("no box for user code could be made")
    if not os.read(status_read, 1):
        os.waitpid(first, 0)
        raise OSError("no process for user code could be started in its box")
    return Inside(first, status_read)


def end(inside: Inside, *, has_ended: bool) -> int:
    """Kill the process of user code, with all others in its PID namespace, and return its wait status.

    Args:
        inside: The process.
        has_ended: Whether it is known to have ended by itself. Then the first process in its box is about to tell how.
    """
    if has_ended and inside.status is not None:
        select.select([inside.status], [], [], _STATUS_WITHIN)
    os.kill(inside.first, signal.SIGKILL)  # it is not reaped yet, so the id is still its own
    _, status = os.waitpid(inside.first, 0)  # for a PID namespace, this returns when all the others there have gone
    if inside.status is None:
        return status
    try:
        status_bytes = os.read(inside.status, 4)
    finally:
        os.close(inside.status)
    return int.from_bytes(status_bytes) if status_bytes else signal.SIGKILL


def _run_or_exit(work: Callable[[], None]) -> None:
    """Do something in a fork, and end the fork if that fails: nothing may return to the zygote's own code."""
    try:
        work()
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        os._exit(1)


def _make(box: InnerBox, restrict: Callable[[], None], tell: Callable[[int], None], made: int, status: int) -> None:
    """Be the processes between the zygote and user code. Return in that of user code only."""
    _unshare(_CLONE_NEWPID)
    first = os.fork()
    if first:
        os.write(made, first.to_bytes(4))
        os._exit(0)
    os.close(made)
    _enter(box, restrict)
    user = os.fork()
    if user:
        tell(os.pidfd_open(user))
        os.write(status, b"\1")
        _reap(user, status)


def _enter(box: InnerBox | None, restrict: Callable[[], None]) -> None:
    """Have the rest of the box around this process, and give up the right to change it."""
    if box is not None:
        if not box.processes:
            _unshare(0)
        _mount_folders(box)
        resource.setrlimit(resource.RLIMIT_NPROC, (_MOST_THREADS, _MOST_THREADS))
        _give_up_capabilities()
    restrict()
    _forbid_inspection(forbidden=True)


def _reap(user: int, status: int) -> NoReturn:
    """Be the first process of the box: reap what ends, and end with the process of user code."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # which the kernel keeps from the first process of a namespace
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  # nobody must wait for an end that is only ours
        if int(name) != status:
            with contextlib.suppress(OSError):
                os.close(int(name))
    while True:
        pid, ended = os.wait()
        if pid == user:
            os.write(status, ended.to_bytes(4))
            os._exit(0)


def _unshare(more: int) -> None:
    """Move this process into new namespaces, with the same user and group."""
    user, group = os.getuid(), os.getgid()
    _call_libc("unshare", ctypes.c_int(_CLONE_NEWUSER | _CLONE_NEWNS | _CLONE_NEWIPC | more))
    _forbid_inspection(forbidden=False)  # else its files in /proc are not its own
    for file, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path("/proc/self", file).write_text(text)


def _mount_folders(box: InnerBox) -> None:
    """Mount the new folders, and a /proc of this PID namespace that names no keys."""
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    new = [*(place for place in (*TEMPORARY, *box.hidden) if place != _STAGE), _STAGE]
    kept = [path for path in sorted(box.kept) if any(Path(path).is_relative_to(place) for place in new)]
    handles = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in kept}
    _mount("tmpfs", _STAGE, "tmpfs", _MS_NOSUID | _MS_NODEV, f"size={box.size},nr_inodes={MOST_FILES},mode=0755")
    for number, place in enumerate(new):
        made = f"{_STAGE}/{number}"
        Path(made).mkdir()
        Path(made).chmod(0o1777 if place in TEMPORARY else 0o755)
        Path(place).mkdir(parents=True, exist_ok=True)
        _mount(made, place, None, _MS_BIND)  # the last one covers the stage itself
    for path, handle in handles.items():
        _make_place(Path(path), folder=stat.S_ISDIR(os.fstat(handle).st_mode))
        _mount(f"/proc/self/fd/{handle}", path, None, _MS_BIND | _MS_REC)
        os.close(handle)
    for place in box.hidden:
        _make_read_only(place)
    os.chdir("/")
    if box.processes:
        _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
    for place in filter(os.path.exists, _KEYS):
        _mount("/dev/null", place, None, _MS_BIND)


def _make_place(place: Path, *, folder: bool) -> None:
    """Make what another folder, or file, can be mounted on."""
    (place if folder else place.parent).mkdir(parents=True, exist_ok=True)
    if not folder and not place.exists():
        place.touch()


def _make_read_only(place: str) -> None:
    flags = os.statvfs(place).f_flag & (_MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _mount(None, place, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | flags)


def _give_up_capabilities() -> None:
    """Give up all capabilities, which this process has in its own user namespace."""

    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    nothing = (ctypes.c_uint32 * 6)()
    header = Header(_CAPABILITY_VERSION, 0)
    _call_libc("capset", ctypes.byref(header), ctypes.byref(nothing))


def _forbid_inspection(*, forbidden: bool) -> None:
    _call_libc("prctl", ctypes.c_int(_PR_SET_DUMPABLE), *map(ctypes.c_ulong, (not forbidden, 0, 0, 0)))


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind, options)]
    _call_libc("mount", *texts[:3], ctypes.c_ulong(flags), texts[3], where=target)


def _call_libc(name: str, *arguments: object, where: str = "") -> None:
    """Call a function of libc. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}", where or None)


def _try() -> None:
    """Make an inner box and end it. Raises OSError."""
    adopt_orphans()
    inside = fork(InnerBox([], [], 1024 * 1024, processes="processes" in sys.argv), lambda: None, os.close)
    if inside is None:
        os._exit(0)
    _, status = os.waitpid(inside.first, 0)  # not killed: it ends with the fork, which has nothing to do
    if status:
        raise OSError(f"a box for user code ended with status {status}")


if __name__ == "__main__":
    try:
        _try()
    except OSError as problem:
        sys.exit(str(problem))
