"""Tries to see, read, signal, trace and slow down processes that are not its own."""

import ctypes
import os
import resource
import signal
import struct

from ways import Through, call, syscall

PTRACE_ATTACH, PTRACE_DETACH, PTRACE_SEIZE = 16, 17, 0x4206
PIDFD_OPEN, PIDFD_GETFD, PROCESS_VM_READV, KCMP = 434, 438, 310, 312


def trace(request, pid):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(request, pid, None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")
    os.waitpid(pid, os.WNOHANG | 0x40000000)
    libc.ptrace(PTRACE_DETACH, pid, None, None)
    return "traced"


def read(path):
    with open(path, "rb") as file:
        return file.read(4096)[:60].hex() or None


def memory(pid):
    """Read memory at the address where the process has its stack."""
    with open(f"/proc/{pid}/maps") as maps:
        start = next(int(line.partition("-")[0], 16) for line in maps if "[stack]" in line)
    with open(f"/proc/{pid}/mem", "rb") as file:
        file.seek(start)
        return file.read(16).hex()


def memory_at_once(pid):
    buffer = ctypes.create_string_buffer(16)
    local = struct.pack("PN", ctypes.addressof(buffer), 16)
    remote = struct.pack("PN", 0x400000, 16)
    return syscall(PROCESS_VM_READV, pid, ctypes.c_char_p(local), 1, ctypes.c_char_p(remote), 1, 0)


def descriptor(pid, number):
    pidfd = os.pidfd_open(pid)
    return syscall(PIDFD_GETFD, pidfd, number, 0)


def send(pid):
    os.kill(pid, signal.SIGCONT)
    return "sent"


def send_by_pidfd(pid):
    signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGCONT)
    return "sent"


def queue(pid):
    return call("sigqueue", pid, int(signal.SIGCONT), 0)


def slow(pid):
    os.setpriority(os.PRIO_PROCESS, pid, 5)
    return "slowed"


def pin(pid):
    os.sched_setaffinity(pid, os.sched_getaffinity(pid))
    return "pinned"


def limit(pid):
    resource.prlimit(pid, resource.RLIMIT_NOFILE, resource.prlimit(pid, resource.RLIMIT_NOFILE))
    return "limited"


def score(pid):
    with open(f"/proc/{pid}/oom_score_adj", "w") as file:
        file.write("1000")
        file.flush()
    return "scored"


WAYS = {
    "environment": lambda pid: read(f"/proc/{pid}/environ"),
    "descriptors": lambda pid: os.listdir(f"/proc/{pid}/fd") or None,
    "working folder": lambda pid: os.listdir(f"/proc/{pid}/cwd/"),
    "root folder": lambda pid: os.listdir(f"/proc/{pid}/root/home"),
    "memory": memory,
    "memory at once": memory_at_once,
    "system call": lambda pid: read(f"/proc/{pid}/syscall"),
    "stack": lambda pid: read(f"/proc/{pid}/stack"),
    "a descriptor": lambda pid: descriptor(pid, 0),
    "attach": lambda pid: trace(PTRACE_ATTACH, pid),
    "seize": lambda pid: trace(PTRACE_SEIZE, pid),
    "signal": send,
    "signal by pidfd": send_by_pidfd,
    "queued signal": queue,
    "priority": slow,
    "affinity": pin,
    "limits": limit,
    "OOM score": score,
}


async def automation(page, params):
    """Return what got through to each of the processes, and the command lines of all that are to be seen."""
    through = Through()
    for pid in params["pids"]:
        for name, way in WAYS.items():
            through.attempt(f"{pid}: {name}", way, pid)
    seen = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                seen.append(file.read().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            pass
    return {"through": through, "seen": seen, "privileges": privileges()}


def privileges():
    with open("/proc/self/status") as file:
        status = {name: text.strip() for name, _, text in (line.partition(":") for line in file)}
    return {name: status[name] for name in ("NoNewPrivs", "CapEff", "CapPrm", "CapBnd", "CapAmb", "CapInh")}
