"""Find out whether Chromium's own sandbox works here, which isolates pages from this user's files and processes.

The sandbox needs a user other than root, which a Machine's box gives it, and the right to make user namespaces.
Distributions, containers and security modules all have their own ways of taking that right away, so the sandbox is
tried, once per browser and process, in such a box if Machines have boxes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

from callboard.machines.box import Box, browser_folders, our_folders
from callboard.machines.environment import machine_environment

_TRIED_WITHIN = 30.0
"""Seconds that the trial may take. It takes a third of one, but a cold disk can make the first start slow."""
_CLIP = 300
"""Most characters of the browser's message that are quoted."""
_NO_SANDBOX = "No usable sandbox"
"""Part of what Chromium prints when it finds no sandbox."""


@lru_cache
def sandbox_refusal(executable: Path, *, boxed: bool) -> str | None:
    """Say why this browser cannot use Chromium's own sandbox here, in a box or without one; None if it can.

    The reason is the end of a sentence without its period. This call blocks.
    """
    if os.geteuid() == 0 and not boxed:
        return "Chromium refuses to use it as root"
    with tempfile.TemporaryDirectory(prefix="callboard-sandbox-") as folder:
        for name in ("home", "tmp"):
            (Path(folder) / name).mkdir()
        box = Box((*our_folders(), *browser_folders(executable, {})), (Path(folder),))
        arguments = ["--headless", f"--user-data-dir={folder}", "--dump-dom", "about:blank"]
        command = [*(box.command(final=True) if boxed else ()), str(executable), *arguments]
        try:
            browser = subprocess.Popen(
                command,
                env=machine_environment(Path(folder)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            return f"the browser does not start with it: {error.strerror or error}"
        try:
            _, printed = browser.communicate(timeout=_TRIED_WITHIN)
        except subprocess.TimeoutExpired:
            return f"the browser does not end within {_TRIED_WITHIN:g} seconds with it"
        finally:
            if browser.returncode is None:  # kill all that was started, and not just a script that starts the browser
                os.killpg(browser.pid, signal.SIGKILL)
                browser.communicate()
    if browser.returncode == 0:
        return None
    if _NO_SANDBOX in printed:
        return f"user {os.geteuid()} may not make the namespaces that it needs"
    last = (printed.strip().splitlines() or ["it printed nothing"])[-1]
    return f"the browser does not start with it: {last[:_CLIP]}"
