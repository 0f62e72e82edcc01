"""Runs a command under a seccomp profile of Docker's form, as a container without capabilities has it.

    python -m tests.support.seccomp PROFILE COMMAND…

libseccomp, which container engines use for it, makes the filter.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_COMPARISONS = {
    name: number
    for number, name in enumerate(
        ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"),
        start=1,
    )
}
_UNKNOWN = -1
_PR_SET_NO_NEW_PRIVS = 38


class Comparison(ctypes.Structure):
    """`struct scmp_arg_cmp`."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


def library() -> ctypes.CDLL | None:
    name = ctypes.util.find_library("seccomp")
    return None if name is None else ctypes.CDLL(name, use_errno=True)


def load(profile: dict[str, Any]) -> None:
    """Have the kernel apply the profile to this process and all that it starts."""
    seccomp = library()
    assert seccomp is not None
    seccomp.seccomp_init.restype = ctypes.c_void_p
    seccomp.seccomp_rule_add_array.argtypes = (
        *(ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint),
        ctypes.c_void_p,
    )
    seccomp.seccomp_load.argtypes = (ctypes.c_void_p,)
    default = _action(profile["defaultAction"], profile.get("defaultErrnoRet", 1))
    context = seccomp.seccomp_init(default)
    for rule in profile["syscalls"]:
        action = _action(rule["action"], rule.get("errnoRet", 1))
        if not _holds(rule) or action == default:
            continue
        given = rule.get("args") or []
        compared = (Comparison * max(len(given), 1))(*map(_comparison, given))
        for name in rule["names"]:
            number = seccomp.seccomp_syscall_resolve_name(name.encode())
            if number != _UNKNOWN:
                seccomp.seccomp_rule_add_array(context, action, number, len(given), compared)
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    assert seccomp.seccomp_load(context) == 0


def _holds(rule: dict[str, Any]) -> bool:
    """Whether the rule is for a container without capabilities on this machine."""
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    return (
        not includes.get("caps")
        and architecture in includes.get("arches", [architecture])
        and architecture not in excludes.get("arches", [])
    )


def _action(name: str, errno: int) -> int:
    return {"SCMP_ACT_ALLOW": _ALLOW, "SCMP_ACT_ERRNO": _ERRNO | errno}[name]


def _comparison(given: dict[str, Any]) -> Comparison:
    operator = _COMPARISONS[given["op"].removeprefix("SCMP_CMP_")]
    return Comparison(given["index"], operator, given["value"], given.get("valueTwo", 0))


def main() -> None:
    load(json.loads(Path(sys.argv[1]).read_text()))
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
