"""Waiting for something to end, with a line that tells how it stands."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.text import Text
from typer import Exit as Leave

from cli.exits import Exit
from cli.output import say
from cli.target import Target, part
from contract.errors import Unavailable

_LOOK_EVERY = 1.0
_WITHOUT_LOOKING = 30
"""Seconds of one request, where nobody watches."""
_PATIENCE = 60.0
"""Seconds for an API that does not answer any more: it may be on its way back."""

UNFINISHED = ("pending", "started")


def until_ended(target: Target, run_id: str) -> dict[str, Any]:
    """The Run's result, once it has ended. Ctrl-C ends the waiting, not the Run."""
    place = f"run/{part(run_id)}/result"
    since = time.monotonic()
    with _line(f"Run {run_id}", lambda: f"callboard runs result {run_id} --wait -p {target.project}") as line:
        while True:
            wait = _LOOK_EVERY if line else _WITHOUT_LOOKING
            answer = patiently(lambda: target.call("GET", place, query={"wait": wait}))  # noqa: B023 - called at once
            if answer["status"] not in UNFINISHED:
                return answer
            if line:
                run = patiently(lambda: target.call("GET", f"runs/{part(run_id)}"))
                line.update(Text(f"Run {run_id} {_progress(run)}, {time.monotonic() - since:.0f} s"))


def until_done(what: str, look: Callable[[], dict[str, Any]], unfinished: tuple[str, ...], timeout: float) -> Any:
    """The answer of `look`, once it says that something has ended.

    Raises:
        Unavailable: It has not within `timeout` seconds.
    """
    since = time.monotonic()
    with _line(what, lambda: "") as line:
        while (answer := patiently(look))["status"] in unfinished:
            seconds = time.monotonic() - since
            if seconds > timeout:
                raise Unavailable(f"{what} has not ended within {timeout:g} s; it goes on. Look again later.")
            if line:
                line.update(Text(f"{what}: {answer['status']}, {seconds:.0f} s"))
            time.sleep(_LOOK_EVERY / 2)
        return answer


def patiently[T](ask: Callable[[], T]) -> T:
    """Ask again for a while, if the API does not answer."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return ask()
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_EVERY)


@contextmanager
def _line(what: str, afterwards: Callable[[], str]) -> Generator[Status | None]:
    """A line on a terminal; nothing elsewhere."""
    console = Console(stderr=True)
    try:
        if console.is_terminal:
            with console.status(Text(what)) as line:
                yield line
        else:
            yield None
    except KeyboardInterrupt:
        say(f"{what} goes on. {afterwards()}".rstrip())
        raise Leave(Exit.INTERRUPTED) from None


def _progress(run: dict[str, Any]) -> str:
    waiting = run["waiting"]
    if waiting is not None:
        busy = "" if waiting["machines"] is None else f", {waiting['machinesBusy']} of {waiting['machines']} busy"
        return f"is pending: {waiting['ahead']} ahead{busy}"
    running = [attempt for attempt in run["attempts"] if attempt["status"] == "started"]
    if running:
        return f"is {run['status']}: Attempt {running[-1]['number']} on Machine {running[-1]['machine']}"
    return f"is {run['status']}"
