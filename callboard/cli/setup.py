"""`callboard setup`: say what Machines need on this host, ask, and install it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from callboard.cli.output import print_message
from callboard.machines.browser_program import find_browser
from callboard.projects.node.tools import has_tools, install_tools, tools_folder
from callboard.schemas.errors import BadRequest, ConfigurationError, MachineError

_PACKAGES = {"bwrap": "bubblewrap", "pasta": "passt", "ip": "iproute2"}
"""Programs that isolate Machines, and the packages of Debian that bring them."""
_SYSTEM_PATH = "/usr/sbin:/sbin"
"""Folders of programs that PATH need not have."""
_BROWSER = "chromium-headless-shell"
"""What Playwright and Debian both call it."""
_PLAYWRIGHT = (sys.executable, "-m", "playwright")
_TIMEOUT = 600.0
"""Seconds that one command may take."""
_LINES = 5
"""Lines of a failed command's output that are shown: package managers say at the end why they failed."""


def setup(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    typescript: Annotated[
        bool, typer.Option("--typescript", help="Install what projects in TypeScript need, too: esbuild and npm.")
    ] = False,
) -> None:
    """Install what this host must have: a browser, and the programs that isolate Machines.

    On Debian and Ubuntu, packages are installed with apt-get, by sudo if you are not root. The browser comes from
    Playwright, or from apt-get if Playwright's download cannot be had. On other hosts, the command names what is
    needed. What projects in TypeScript need is installed beside Callboard, by the host's npm. The command says what it
    will do and asks first, and does nothing that is done already.
    """
    packages, browser, tools = _missing_packages(), _has_browser(), typescript and not has_tools()
    if not packages and browser and not tools:
        typer.echo("This host has all that Callboard needs. `callboard doctor` checks the rest of an installation.")
        return
    apt_get = _find_apt_get()
    steps = [f"{' '.join(apt_get)} install {' '.join(packages)}"] if packages and apt_get else []
    if not browser:
        other = f", or else {' '.join(apt_get)} install {_BROWSER}" if apt_get else ""
        steps.append(f"{' '.join(_PLAYWRIGHT)} install {_BROWSER}, with the libraries that it needs{other}")
    if tools:
        steps.append(f"npm ci --ignore-scripts, of esbuild and npm as Callboard has locked them, in {tools_folder()}")
    if steps:
        lacks = [
            *packages,
            *([] if browser else ["a browser"]),
            *(["what projects in TypeScript need"] if tools else []),
        ]
        print_message(f"This host lacks {', '.join(lacks)}. This will be executed:")
        for step in steps:
            print_message(f"  {step}")
        if not yes:
            _ask()
    if packages and apt_get:
        _install(apt_get, packages)
    if not browser:
        _install_browser(apt_get)
    if tools:
        install_tools()
    _check()


def _missing_packages() -> list[str]:
    path = f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PATH}"
    return [package for program, package in _PACKAGES.items() if shutil.which(program, path=path) is None]


def _has_browser() -> bool:
    """Tell whether there is a browser that starts.

    Raises:
        MachineError: CALLBOARD_CHROMIUM names one that does not start. Then no other one would be used.
    """
    configured = os.environ.get("CALLBOARD_CHROMIUM")
    try:
        find_browser(Path(configured) if configured else None)
    except MachineError:
        if configured:
            raise
        return False
    return True


def _find_apt_get() -> list[str]:
    """Return the beginning of a command that installs packages; empty if none can be installed here."""
    root = [] if os.geteuid() == 0 else ["sudo"]
    return [] if any(shutil.which(program) is None for program in (*root, "apt-get")) else [*root, "apt-get"]


def _ask() -> None:
    if not sys.stdin.isatty():
        raise BadRequest("Nothing was installed. Say --yes where nobody can be asked.")
    if not typer.confirm("Go on?", err=True):
        raise typer.Abort


def _install(apt_get: list[str], packages: list[str]) -> None:
    """Install packages of this system; a failure is told, and no error."""
    root, program = apt_get[:-1], apt_get[-1]
    install = ("install", "-y", "-qq", "--no-install-recommends", *packages)
    if _succeeds([*apt_get, "update", "-qq"]):
        _succeeds([*root, "env", "DEBIAN_FRONTEND=noninteractive", program, *install])


def _install_browser(apt_get: list[str]) -> None:
    """Install a browser, where possible the one that this Playwright was made for; a failure is told, and no error."""
    if _succeeds([*_PLAYWRIGHT, "install", _BROWSER]) and apt_get and not _has_browser():
        _succeeds([*_PLAYWRIGHT, "install-deps", _BROWSER])
    if apt_get and not _has_browser():
        print_message("Playwright's browser is not to be had here, so the system's package is tried.")
        _install(apt_get, [_BROWSER])


def _succeeds(command: Sequence[str]) -> bool:
    """Run a command. What it says is shown only if it fails."""
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        try:
            done = subprocess.run(
                command,
                # Where Playwright's servers cannot be reached, it would wait for minutes.
                env=os.environ | {"PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": "10000"},
                stdin=subprocess.DEVNULL,  # sudo asks on the terminal itself
                stdout=log,
                stderr=log,
                timeout=_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            print_message(f"{' '.join(command)} has not ended within {_TIMEOUT / 60:g} minutes.", "yellow")
            return False
        if done.returncode == 0:
            return True
        log.seek(0)
        print_message(f"{' '.join(command)} has failed:", "yellow")
        for line in log.read().splitlines()[-_LINES:]:
            print_message(f"  {line}")
        return False


def _check() -> None:
    """Say that all is there.

    Raises:
        ConfigurationError: Something is not; the message says what to do.
    """
    sentences: list[str] = []
    if packages := _missing_packages():
        programs = {package: program for program, package in _PACKAGES.items()}
        listed = ", ".join(f"{package} (the program `{programs[package]}`)" for package in packages)
        sentences.append(
            f"Install {listed} with the package manager of this host: without bubblewrap, workers start only with "
            "CALLBOARD_ISOLATION=none; without the others, Machines have the network of this host."
        )
    if not _has_browser():
        sentences.append(
            f"Install Chromium's headless shell ({_BROWSER}) or Chromium with the package manager of this host, or "
            "name an executable in CALLBOARD_CHROMIUM."
        )
    if sentences:
        raise ConfigurationError(f"Not all could be installed. {' '.join(sentences)}")
    typer.echo("This host has all that Callboard needs. `callboard doctor` checks the rest of an installation.")
