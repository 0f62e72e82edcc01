"""The environment variables of user code: a few harmless ones, and those that the operator meant for it. No others."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

USER_PREFIX = "CALLBOARD_USER_"
"""Prefix of variables for user code: the worker's `CALLBOARD_USER_X` is `X` there."""

_DISPLAY = ("DISPLAY", "XAUTHORITY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR")
_PASSED = ("PATH", "LANG", "TZ")
_NO_LANGUAGE = ("", "C", "POSIX")


def display_environment() -> dict[str, str]:
    """Return the variables that a browser needs to open a window; empty if there is no display."""
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return {}
    return {name: os.environ[name] for name in _DISPLAY if name in os.environ}


def user_environment(scratch: Path, variables: Iterable[tuple[str, str]] = ()) -> dict[str, str]:
    """Return the environment that a Machine is started with.

    `HOME` and `TMPDIR` are the Machine's own, so that it finds nothing of the worker's user. A variable of the project
    takes precedence over one that the operator meant for all projects.
    """
    environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
    if environment.get("LANG", "C") in _NO_LANGUAGE:
        # Python would repair this with a variable of its own, `LC_CTYPE`; and pages hold more than ASCII.
        environment["LANG"] = "C.UTF-8"
    for name, value in os.environ.items():
        if name.startswith(USER_PREFIX) and name != USER_PREFIX:
            environment[name.removeprefix(USER_PREFIX)] = value
    environment.update(variables)
    environment["HOME"] = str(scratch / "home")
    environment["TMPDIR"] = str(scratch / "tmp")
    return environment
