"""Landlock, by which a process gives up for good what it does not need.

It works without any privilege, and holds for whatever the process starts. Within it, nothing can be mounted, and
processes outside cannot be inspected; with a kernel of 6.12 or later, they cannot be signaled either, nor reached by
sockets in the abstract namespace. This module uses the standard library alone.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Sequence
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
    return max(_libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION)), 0)


def restrict(walls: Walls) -> None:
    """Restrict this process, which must have one thread, to these walls. Without Landlock, forbid new privileges only.

    Raises:
        OSError: The kernel refuses it.
    """
    no_new_privileges()
    version = abi()
    if not version:
        return
    known = (1 << _RIGHTS.get(version, 16)) - 1
    attributes = _Attributes(known, 0, _SCOPES if version >= SCOPES_SINCE else 0)
    size = _SIZES.get(version, ctypes.sizeof(_Attributes))
    ruleset = _call(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for paths, rights in ((walls["read"], _READ & known), (walls["write"], known)):
            _open(ruleset, paths, rights)
        _call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def no_new_privileges() -> None:
    """Forbid this process, and all that it starts, to gain privileges by what it executes. Raises OSError."""
    if _libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot give up new privileges")


def _open(ruleset: int, paths: Sequence[str], rights: int) -> None:
    for path in paths:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except (FileNotFoundError, PermissionError):  # what cannot be found needs no rule
            continue
        try:
            is_folder = stat.S_ISDIR(os.fstat(place).st_mode)
            rule = _PathBeneath(rights if is_folder else rights & _OF_FILES, place)
            _call(
                _ADD_RULE,
                ctypes.c_int(ruleset),
                ctypes.c_int(_PATH_BENEATH),
                ctypes.byref(rule),
                ctypes.c_uint32(0),
            )
        finally:
            os.close(place)


def _call(number: int, *arguments: object) -> int:
    returned: int = _libc().syscall(number, *arguments)
    if returned < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"Landlock: {os.strerror(error)}")
    return returned


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
