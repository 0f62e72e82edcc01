"""The environment variables of a Machine's processes: a few harmless ones, and for user code those meant for it."""

from __future__ import annotations

import os
from pathlib import Path

USER_PREFIX = "CALLBOARD_USER_"
"""Prefix of variables for user code: the worker's `CALLBOARD_USER_X` is `X` there."""

_OF_DRIVER = "NODE_EXTRA_CA_CERTS"
"""Variable that the operator means for Playwright's driver, too, which makes requests of its own."""
_CERTIFICATES = (_OF_DRIVER, "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_DISPLAY = ("DISPLAY", "XAUTHORITY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR")
X11_SOCKETS = Path("/tmp/.X11-unix")  # noqa: S108  # this is where X11 has its sockets
_PASSED = ("PATH", "LANG", "TZ")
_NO_LANGUAGE = ("", "C", "POSIX")


def display_environment() -> dict[str, str]:
    """Return the variables that a browser needs to open a window; empty if there is no display."""
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return {}
    display = {name: os.environ[name] for name in _DISPLAY if name in os.environ}
    # An X client that is given `:0` asks for a socket without a path first. Where Landlock forbids those, it gives up.
    number = display.get("DISPLAY", "").removesuffix(".0").partition(":")
    if number[0] == "" and (socket := X11_SOCKETS / f"X{number[2]}").is_socket():
        display["DISPLAY"] = str(socket)
    return display


def machine_environment(scratch: Path) -> dict[str, str]:
    """Return the environment that a Machine is started with.

    `HOME` and `TMPDIR` are the Machine's own, so that it finds nothing of the worker's user.
    """
    environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
    if environment.get("LANG", "C") in _NO_LANGUAGE:
        # Python would repair this with a variable of its own, `LC_CTYPE`; and pages hold more than ASCII.
        environment["LANG"] = "C.UTF-8"
    if (certificates := os.environ.get(f"{USER_PREFIX}{_OF_DRIVER}")) is not None:
        environment[_OF_DRIVER] = certificates
    environment["HOME"] = str(scratch / "home")
    environment["TMPDIR"] = str(scratch / "tmp")
    return environment


def certificates() -> tuple[Path, ...]:
    """Return the files and folders of certificates that the operator has named for user code."""
    named = (os.environ.get(f"{USER_PREFIX}{name}") for name in _CERTIFICATES)
    return tuple(Path(path) for path in named if path and Path(path).exists())


def user_environment(scratch: Path) -> dict[str, str]:
    """Return the environment of the zygote, with what the operator means for user code of all projects.

    What a project has itself is added in the process of each Attempt.
    """
    environment = machine_environment(scratch)
    places = {name: environment[name] for name in ("HOME", "TMPDIR")}
    for name, value in os.environ.items():
        if name.startswith(USER_PREFIX) and name != USER_PREFIX:
            environment[name.removeprefix(USER_PREFIX)] = value
    return {**environment, **places}
