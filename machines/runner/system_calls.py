"""System calls that are forbidden in the boxes of a Machine, by a filter (seccomp).

Nobody in a box needs keys of the kernel, which would pass from one Attempt to the next and to other projects, nor
io_uring, userfaultfd and families of sockets that no network namespace holds back. These are forbidden to driver,
browser and zygote, too. User code, in addition, can make no user namespace: in one, it would have all capabilities, and
with them much more of the kernel to attack.

A filter needs no privilege once new ones are forbidden. This module uses the standard library alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
"""What a filter returns: go on, or (with the number of an error) fail."""
_REFUSE = _FAIL | errno.EPERM
_LOAD, _EQUALS, _AT_LEAST, _HAS_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""Instructions of a filter: load a word; jump if it is equal, at least as great, or has one of these bits; return."""
_NUMBER_AT, _PROCESSOR_AT, _ARGUMENTS_AT = 0, 4, 16
"""Where a filter finds the number of a system call, the kind of processor it is for, and its arguments."""
_OTHER_NUMBERS = 0x40000000
"""Smallest number of a second set that x86-64 has for the same system calls."""
_CLONE_NEWUSER = 0x10000000
_JOIN_SESSION_KEYRING = 1


@dataclass(frozen=True)
class _Rules:
    """What a filter forbids."""

    forbidden: Mapping[str, int]
    """System calls that always fail, and the error."""
    only: Mapping[tuple[str, int], tuple[int, ...]]
    """Values that an argument may have, by the system call and the number of the argument, counted from zero."""
    bits: Mapping[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])
    """Bits that an argument must not have."""


def _refused(*names: str) -> dict[str, int]:
    return dict.fromkeys(names, errno.EPERM)


_IN_BOXES = _Rules(
    _refused(
        *("add_key", "request_key", "keyctl", "userfaultfd"),
        *("io_uring_setup", "io_uring_enter", "io_uring_register"),  # it makes system calls that no filter sees
    ),
    {
        ("socket", 0): (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK),
        ("socketpair", 0): (socket.AF_UNIX,),
    },
)
_TO_USER_CODE = _Rules(
    # A filter does not see the flags of `clone3`. As if the kernel did not have it, libc takes `clone` instead.
    {"clone3": errno.ENOSYS},
    {},
    {("clone", 0): _CLONE_NEWUSER, ("unshare", 0): _CLONE_NEWUSER},
)


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
            socket=41 socketpair=53 add_key=248 request_key=249 keyctl=250 userfaultfd=323
            io_uring_setup=425 io_uring_enter=426 io_uring_register=427 clone=56 clone3=435 unshare=272
        """),
    ),
    "aarch64": _Processor(
        0xC00000B7,
        _numbers("""
            socket=198 socketpair=199 add_key=217 request_key=218 keyctl=219 userfaultfd=282
            io_uring_setup=425 io_uring_enter=426 io_uring_register=427 clone=220 clone3=435 unshare=97
        """),
    ),
}


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("value", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def forbid_in_box() -> None:
    """Forbid this process, and all that it starts, what nobody in a box may do.

    Here and in `forbid_to_user_code`, new privileges must have been forbidden before, and on processors other than
    x86-64 and ARM64, nothing is forbidden.

    Raises:
        OSError: The kernel has no such filters.
    """
    _forbid(_IN_BOXES)


def forbid_to_user_code() -> None:
    """Forbid this process, and all that it starts, what user code may not do in addition.

    Raises:
        OSError: The kernel has no such filters.
    """
    _forbid(_TO_USER_CODE)


def join_new_session_keyring() -> None:
    """Leave the session keyring of whoever has started this process, with the keys in it, for a new one.

    Where a container forbids this, it forbids all use of keys; and within the boxes, the filter does.
    """
    processor = _PROCESSORS.get(platform.machine())
    if processor is not None:
        with contextlib.suppress(OSError):
            _call("syscall", ctypes.c_long(processor.numbers["keyctl"]), ctypes.c_long(_JOIN_SESSION_KEYRING), None)


def _forbid(rules: _Rules) -> None:
    processor = _PROCESSORS.get(platform.machine())
    if processor is None:
        return
    instructions = [_Instruction(*instruction) for instruction in _filter(processor, rules)]
    program = _Program(len(instructions), (_Instruction * len(instructions))(*instructions))
    arguments = (ctypes.c_ulong(_MODE_FILTER), ctypes.byref(program), ctypes.c_ulong(0), ctypes.c_ulong(0))
    _call("prctl", ctypes.c_int(_PR_SET_SECCOMP), *arguments)


def _call(name: str, *arguments: object) -> None:
    """Call a function of libc. Raises OSError."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) == -1:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


def _filter(processor: _Processor, rules: _Rules) -> Iterable[tuple[int, int, int, int]]:
    """Yield the instructions, each with how many to skip if it applies, and if not."""
    yield _LOAD, 0, 0, _PROCESSOR_AT
    yield _EQUALS, 1, 0, processor.audited_as
    yield _RETURN, 0, 0, _REFUSE  # a program for another processor, whose numbers mean other calls
    yield _LOAD, 0, 0, _NUMBER_AT
    yield _AT_LEAST, 0, 1, _OTHER_NUMBERS
    yield _RETURN, 0, 0, _REFUSE
    for name, error in rules.forbidden.items():
        yield _EQUALS, 0, 1, processor.numbers[name]
        yield _RETURN, 0, 0, _FAIL | error
    for (name, argument), values in rules.only.items():
        yield _LOAD, 0, 0, _NUMBER_AT
        yield _EQUALS, 0, len(values) + 2, processor.numbers[name]
        yield _LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument
        for left, value in zip(range(len(values), 0, -1), values, strict=True):
            yield _EQUALS, left, 0, value
        yield _RETURN, 0, 0, _REFUSE
    for (name, argument), bits in rules.bits.items():
        yield _LOAD, 0, 0, _NUMBER_AT
        yield _EQUALS, 0, 3, processor.numbers[name]
        yield _LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument
        yield _HAS_BITS, 0, 1, bits
        yield _RETURN, 0, 0, _REFUSE
    yield _RETURN, 0, 0, _ALLOW
