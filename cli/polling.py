"""Waiting for a Run or an operation to end, with a line that shows its status."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.text import Text
from typer import Exit as Leave

from cli.exit_codes import Exit
from cli.output import say
from cli.with_api import Target, part
from schemas.errors import Unavailable

_LOOK_EVERY = 1.0
"""Seconds between two requests on a terminal, where somebody watches."""
_WITHOUT_LOOKING = 30
"""Seconds for which one request waits where nobody watches."""
_PATIENCE = 60.0
"""Seconds to wait for an API that does not answer any more, as it may be restarting."""

UNFINISHED = ("pending", "started")
UNFINISHED_OPERATION = ("pending", "in_progress")


def until_ended(target: Target, run_id: str) -> dict[str, Any]:
    """Wait until an existing Run has ended, and return its result. Ctrl-C ends the waiting, not the Run.

    Raises:
        CallboardError: The API refuses, or has not answered for a minute.
    """
    place = f"run/{part(run_id)}/result"
    since = time.monotonic()
    with _line(f"Run {run_id}", f"callboard runs result {run_id} --wait -p {target.project}") as line:
        query = {"wait": _LOOK_EVERY if line else _WITHOUT_LOOKING}
        while (answer := patiently(lambda: target.call("GET", place, query=query)))["status"] in UNFINISHED:
            if line:
                run = patiently(lambda: target.call("GET", f"runs/{part(run_id)}"))
                line.update(Text(f"Run {run_id} {_progress(run)}, {time.monotonic() - since:.0f} s"))
        return answer


def until_done(what: str, look: Callable[[], dict[str, Any]], timeout: timedelta) -> dict[str, Any]:
    """Call `look` until the operation on an AuthSession has ended or the time is over, and return its last answer.

    Raises:
        CallboardError: The API refuses, or has not answered for a minute.
    """
    since = time.monotonic()
    with _line(what) as line:
        while (answer := patiently(look))["status"] in UNFINISHED_OPERATION:
            seconds = time.monotonic() - since
            if seconds > timeout.total_seconds():
                break
            if line:
                line.update(Text(f"{what} is {answer['status']}, {seconds:.0f} s"))
            time.sleep(_LOOK_EVERY / 2)
        return answer


def patiently[T](ask: Callable[[], T]) -> T:
    """Call an API that has answered before; if it does not answer now, try again for a minute."""
    try:
        return ask()
    except Unavailable as error:
        say(f"{error.message} Trying again for {_PATIENCE:g} s …")
    deadline = time.monotonic() + _PATIENCE
    while True:
        time.sleep(_LOOK_EVERY)
        try:
            return ask()
        except Unavailable:
            if time.monotonic() > deadline:
                raise


@contextmanager
def _line(what: str, afterwards: str = "") -> Generator[Status | None]:
    """Show a status line on a terminal, and yield None elsewhere; exit with a hint on Ctrl-C."""
    console = Console(stderr=True)
    try:
        if console.is_terminal:
            with console.status(Text(what)) as line:
                yield line
        else:
            yield None
    except KeyboardInterrupt:
        say(f"{what} goes on. {afterwards}".rstrip())
        raise Leave(Exit.INTERRUPTED) from None


def _progress(run: dict[str, Any]) -> str:
    waiting = run["waiting"]
    if waiting is not None and waiting["paused"]:
        return "is pending: it is paused in Temporal"
    if waiting is not None:
        busy = "" if waiting["machines"] is None else f", {waiting['machinesBusy']} of {waiting['machines']} busy"
        return f"is pending: {waiting['ahead']} ahead{busy}"
    running = [attempt for attempt in run["attempts"] if attempt["status"] == "started"]
    if running:
        return f"is {run['status']}: Attempt {running[-1]['number']} on Machine {running[-1]['machine']}"
    return f"is {run['status']}"
