"""System calls that are forbidden to user code where there are no namespaces to be in.

Landlock knows neither sockets with a path, nor what the kernel keeps for a whole host (System V objects, POSIX queues,
keys), nor how processes share a processor. Where user code has no namespaces of its own, a filter of system calls
(seccomp) closes these; it needs no privilege once new ones are forbidden. What a process does to itself, and pairs of
sockets, stay open. This module uses the standard library alone.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_LOAD, _EQUALS, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
"""Instructions of a filter: load a word, jump if it is equal or at least as great, and return."""
_NUMBER_AT, _PROCESSOR_AT, _ARGUMENTS_AT = 0, 4, 16
"""Where a filter finds the number of a system call, the kind of processor it is for, and its arguments."""
_OTHER_NUMBERS = 0x40000000
"""Smallest number of a second set that x86-64 has for the same system calls."""

_FORBIDDEN = (
    *("shmget", "shmat", "shmctl", "semget", "semop", "semctl", "semtimedop", "msgget", "msgsnd", "msgrcv", "msgctl"),
    *("mq_open", "mq_unlink", "add_key", "request_key", "keyctl"),
    "io_uring_setup",  # it could make sockets without the system call for that
)
_FORBIDDEN_IF = {"socket": ((0, socket.AF_UNIX),)}
"""System calls that are forbidden if an argument, counted from zero, has this value."""
_SCHEDULING = ("sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler")
_FORBIDDEN_UNLESS = {
    **dict.fromkeys((*_SCHEDULING, "prlimit64", "migrate_pages"), ((0, 0),)),
    "setpriority": ((0, os.PRIO_PROCESS), (1, 0)),
    "ioprio_set": ((0, 1), (1, 0)),
}
"""System calls that are forbidden unless these arguments have these values, by which a process means itself."""


@dataclass(frozen=True)
class _Processor:
    audited_as: int
    """What a filter is told of the processor."""
    numbers: Mapping[str, int]


def _numbers(text: str) -> dict[str, int]:
    return {name: int(number) for name, _, number in (entry.partition("=") for entry in text.split())}


_PROCESSORS = {
    "x86_64": _Processor(
        0xC000003E,
        _numbers("""
            socket=41 shmget=29 shmat=30 shmctl=31 semget=64 semop=65 semctl=66 semtimedop=220 msgget=68 msgsnd=69
            msgrcv=70 msgctl=71 mq_open=240 mq_unlink=241 add_key=248 request_key=249 keyctl=250 io_uring_setup=425
            setpriority=141 ioprio_set=251 sched_setaffinity=203 sched_setattr=314 sched_setparam=142
            sched_setscheduler=144 prlimit64=302 migrate_pages=256
        """),
    ),
    "aarch64": _Processor(
        0xC00000B7,
        _numbers("""
            socket=198 shmget=194 shmat=196 shmctl=195 semget=190 semop=193 semctl=191 semtimedop=192 msgget=186
            msgsnd=189 msgrcv=188 msgctl=187 mq_open=180 mq_unlink=181 add_key=217 request_key=218 keyctl=219
            io_uring_setup=425 setpriority=140 ioprio_set=30 sched_setaffinity=122 sched_setattr=274 sched_setparam=118
            sched_setscheduler=119 prlimit64=261 migrate_pages=238
        """),
    ),
}


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("value", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def forbid() -> None:
    """Forbid these system calls to this process and all that it starts; on other processors, nothing is forbidden.

    New privileges must have been forbidden before.

    Raises:
        OSError: The kernel has no such filters.
    """
    processor = _PROCESSORS.get(platform.machine())
    if processor is None:
        return
    instructions = [_Instruction(*instruction) for instruction in _filter(processor)]
    program = _Program(len(instructions), (_Instruction * len(instructions))(*instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (ctypes.c_ulong(_MODE_FILTER), ctypes.byref(program), ctypes.c_ulong(0), ctypes.c_ulong(0))
    if libc.prctl(ctypes.c_int(_PR_SET_SECCOMP), *arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"system calls cannot be forbidden: {os.strerror(error)}")


def _filter(processor: _Processor) -> Iterable[tuple[int, int, int, int]]:
    """Yield the instructions, each with how many to skip if it applies, and if not."""
    yield _LOAD, 0, 0, _PROCESSOR_AT
    yield _EQUALS, 1, 0, processor.audited_as
    yield _RETURN, 0, 0, _REFUSE  # a program for another processor, whose numbers mean other calls
    yield _LOAD, 0, 0, _NUMBER_AT
    yield _AT_LEAST, 0, 1, _OTHER_NUMBERS
    yield _RETURN, 0, 0, _REFUSE
    for name in _FORBIDDEN:
        yield _EQUALS, 0, 1, processor.numbers[name]
        yield _RETURN, 0, 0, _REFUSE
    for calls, skip in ((_FORBIDDEN_IF, (0, 1)), (_FORBIDDEN_UNLESS, (1, 0))):
        for name, arguments in calls.items():
            for argument, value in arguments:
                yield _LOAD, 0, 0, _NUMBER_AT
                yield _EQUALS, 0, 3, processor.numbers[name]
                yield _LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument
                yield _EQUALS, *skip, value
                yield _RETURN, 0, 0, _REFUSE
    yield _RETURN, 0, 0, _ALLOW
