"""What a process gives up for good, with all that it starts: files by Landlock, and system calls by a filter (seccomp).

    confinement.py FOR WALLS COMMAND…      start a program that can do no more than it needs

FOR is `ours`, or `user-code` for a program that executes code of projects. WALLS is JSON of `Walls`.

Landlock needs no privilege. Within it, nothing can be mounted, and processes outside cannot be inspected; with a kernel
of 6.12 or later, they cannot be signaled either, nor reached by sockets in the abstract namespace.

The filter needs no privilege once new ones are forbidden. It forbids keys of the kernel, which would pass from one
Attempt to the next and to other projects, and also io_uring, userfaultfd and families of sockets that no network
namespace holds back. Nobody in a box needs these, so they are forbidden to driver, browser and zygote, too. User code,
in addition, can make no user namespace: in one, it would have all capabilities, and with them much more of the kernel
to attack.

This module uses the standard library alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import platform
import socket
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""Numbers of the system calls, which are the same on every processor."""
_ASK_VERSION, _PATH_BENEATH = 1, 1
_PR_SET_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL_DEV = 1, 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
"""Rights that a rule about a file, instead of a folder, may give."""
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""Number of rights about files that each version knows; later ones know no more of them."""
_SIZES = {1: 8, 2: 8, 3: 8, 4: 16, 5: 16}
"""Size of the attributes that each version knows; those of later ones begin like those of the sixth."""
SCOPES_SINCE = 6
_SCOPES = 1 << 0 | 1 << 1
"""Sockets in the abstract namespace, and signals."""

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


class Walls(TypedDict):
    """What stays open. Paths that do not exist are left out."""

    read: list[str]
    """Folders and files that can be read and executed."""
    write: list[str]
    """Folders and files that can be written, too."""


class _Attributes(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _layout_ = "ms"
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("folder", ctypes.c_int32))


def abi() -> int:
    """Return the version of Landlock that the kernel has; 0 if it has none, or it is switched off."""
    try:
        return _landlock(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))
    except OSError:
        return 0


def restrict(walls: Walls) -> None:
    """Restrict this process, which must have one thread, to these walls. Without Landlock, forbid new privileges only.

    Raises:
        OSError: The kernel refuses it.
    """
    _call("prctl", ctypes.c_int(_PR_SET_NO_NEW_PRIVS), *map(ctypes.c_ulong, (1, 0, 0, 0)))
    version = abi()
    if not version:
        return
    known = (1 << _RIGHTS.get(version, 16)) - 1
    attributes = _Attributes(known, 0, _SCOPES if version >= SCOPES_SINCE else 0)
    size = _SIZES.get(version, ctypes.sizeof(_Attributes))
    ruleset = _landlock(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for paths, rights in ((walls["read"], _READ & known), (walls["write"], known)):
            _open(ruleset, paths, rights)
        _landlock(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _open(ruleset: int, paths: Sequence[str], rights: int) -> None:
    for path in paths:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except (FileNotFoundError, PermissionError):  # what cannot be found needs no rule
            continue
        try:
            is_folder = stat.S_ISDIR(os.fstat(place).st_mode)
            rule = _PathBeneath(rights if is_folder else rights & _OF_FILES, place)
            _landlock(
                _ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0)
            )
        finally:
            os.close(place)


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
    """The number by which a filter knows the processor."""
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


def _landlock(number: int, *arguments: object) -> int:
    return _call("syscall", ctypes.c_long(number), *arguments, name="Landlock")


def _call(function: str, *arguments: object, name: str | None = None) -> int:
    """Call a function of libc. Raises OSError, with `name` in its message instead of the function's own."""
    returned: int = getattr(ctypes.CDLL(None, use_errno=True), function)(*arguments)
    if returned == -1:
        error = ctypes.get_errno()
        raise OSError(error, f"{name or function}: {os.strerror(error)}")
    return returned


def main() -> None:
    """Start the program; see the module's docstring."""
    whose, walls, *command = sys.argv[1:]
    restrict(json.loads(walls))
    forbid_in_box()
    if whose == "user-code":
        forbid_to_user_code()
    os.execv(command[0], command)  # noqa: S606  # there is no shell, on purpose


if __name__ == "__main__":
    main()
