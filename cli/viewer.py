"""Playwright's trace viewer, as the installed package has it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from contract.errors import CallboardError

_GRACE = 5.0


def show_trace(file: Path) -> None:
    """Serve the viewer on loopback and open it in a browser, until Ctrl-C; it prints its address.

    Raises:
        CallboardError: It ended by itself.
    """
    # With an address it serves its page; without one it would start a browser of its own, which need not be there.
    command = [sys.executable, "-m", "playwright", "show-trace", "--host", "127.0.0.1", "--port", "0", str(file)]
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        # In a process group of its own: below Python there is Node.
        viewer = subprocess.Popen(command, start_new_session=True)
        try:
            code = viewer.wait()
        except KeyboardInterrupt:
            return
        finally:
            _end(viewer)
    finally:
        signal.signal(signal.SIGTERM, before)
    raise CallboardError(f"Playwright's trace viewer ended by itself, with {code}.")


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end(viewer: subprocess.Popen[bytes]) -> None:
    for way in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(viewer.pid, way)
        except ProcessLookupError:
            break
        try:
            viewer.wait(_GRACE)
        except subprocess.TimeoutExpired:
            continue
