"""Find the browser that Machines run, and say how it is launched.

A Machine runs Chromium's headless shell: it does the same work as the full browser with a fraction of its
processes. The full browser is taken for a project that wants windows, or when there is nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import playwright

from callboard.machines.environment import machine_environment
from callboard.schemas.errors import MachineError

_START_LIMIT = 30.0
"""Seconds a browser may take to print its version; a cold disk can make the first start slow."""

_SHELLS = ("chromium-headless-shell", "chrome-headless-shell")
_ALSO_LOOKED_IN = "/usr/bin:/usr/local/bin"
"""Folders that are searched after PATH, as some service managers cut PATH short."""
_FULL = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser(configured: Path | None, *, headful: bool = False) -> Path:
    """Return the path of the browser to use, which is known to start.

    This is the configured one; else Playwright's own, which its version was made for; else the system's. A headless
    shell is preferred to a full browser, unless `headful` is set, as only a full browser can open windows.

    Raises:
        MachineError: There is no browser, the configured one is missing, or none of those found starts.
    """
    if configured is not None:
        reason = _why_it_does_not_start(configured)
        if reason is None:
            return configured
        msg = (
            f"CALLBOARD_CHROMIUM names {configured}, which is no browser that starts: {reason}."
            " Name the executable of one, or leave it out, and one is looked for."
        )
        raise MachineError(msg)
    broken: list[str] = []
    for path in _candidates(headful=headful):
        reason = _why_it_does_not_start(path)
        if reason is None:
            return path
        broken.append(f"{path} does not start ({reason})")
    found = "; ".join(broken) if broken else "there is none on this machine"
    command = f"{sys.executable} -m playwright install --with-deps chromium" if headful else "callboard setup"
    raise MachineError(
        f"No browser for the Machines: {found}. Install one with `{command}`, or name an executable in"
        " CALLBOARD_CHROMIUM."
    )


def browser_args() -> list[str]:
    """Return arguments for the browser in addition to those that Playwright gives it by default.

    Playwright's own already switch off background networking, component updates, sync and the first-run pages.
    """
    return [
        # UDP traffic would bypass a proxy: that is QUIC, and WebRTC unless it is relayed over TCP.
        "--disable-quic",
        "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    ]


def _candidates(*, headful: bool) -> Iterator[Path]:
    if not headful:
        yield from _playwrights("chromium-headless-shell", ("chrome-headless-shell", "headless_shell"))
        yield from _installed(_SHELLS)
    yield from _playwrights("chromium", ("chrome", "chromium"))
    yield from _installed(_FULL)


def _installed(names: tuple[str, ...]) -> Iterator[Path]:
    for name in names:
        found = shutil.which(name) or shutil.which(name, path=_ALSO_LOOKED_IN)
        if found is not None:
            yield Path(found)


def _playwrights(browser: str, executables: tuple[str, ...]) -> Iterator[Path]:
    """Yield the executables of `browser` in the revision that belongs to the installed Playwright."""
    package = Path(playwright.__file__).parent / "driver" / "package"
    listed: list[dict[str, Any]] = json.loads((package / "browsers.json").read_text(encoding="utf-8"))["browsers"]
    revision = next(str(entry["revision"]) for entry in listed if entry["name"] == browser)
    folder = browsers_folder() / f"{browser.replace('-', '_')}-{revision}"
    if not (folder / "INSTALLATION_COMPLETE").is_file():  # Playwright's mark that the download was not cut off
        return
    for name in executables:
        yield from sorted(folder.glob(f"*/{name}"))


def browsers_folder() -> Path:
    """Return the folder where Playwright keeps browsers, found as Playwright itself finds it on Linux."""
    configured = os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    if configured == "0":
        return Path(playwright.__file__).parent / "driver" / "package" / ".local-browsers"
    if configured:
        return Path(configured)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ms-playwright"


def _why_it_does_not_start(path: Path) -> str | None:
    """Return why the browser at `path` does not start, or None if it does.

    A browser that has started once is not tried again in this process: it is taken to start from then on.
    """
    try:
        _version(path)
    except (OSError, subprocess.SubprocessError) as error:
        output = error.stderr if isinstance(error, subprocess.CalledProcessError) else None
        return (str(output).strip().splitlines() or [str(error)])[0] if output else str(error)
    return None


@lru_cache
def _version(path: Path) -> str:
    """Return the version that the browser prints. A missing shared library shows up here, not in the first Attempt."""
    done = subprocess.run(
        [path, "--version"],
        # It gets the environment of a Machine, without our secrets: this user's other processes can read it.
        env=machine_environment(Path(tempfile.gettempdir())),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_START_LIMIT,
        check=True,
    )
    return done.stdout.strip()
