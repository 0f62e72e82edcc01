"""Waiting for a Run, a JobRun or an operation to end, with a line that shows its status."""

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

from callboard.cli.api_client import ApiClient, quote_segment
from callboard.cli.exit_codes import ExitCode
from callboard.cli.output import print_message
from callboard.cli.render import format_run_counts, format_waiting
from callboard.schemas.errors import Unavailable

_POLL_SECONDS = 1.0
"""Seconds between two requests on a terminal, where somebody watches."""
_LONG_POLL_SECONDS = 30
"""Seconds for which one request waits where nobody watches."""
_RETRY_SECONDS = 60.0
"""Seconds to wait for an API that does not answer any more, as it may be restarting."""

_RESOURCES_SECONDS = 300.0
"""Seconds after which a deploy is not waited for any more only because its Jobs and AuthSessions are being changed."""

UNFINISHED = ("pending", "started")
UNFINISHED_OPERATION = ("pending", "in_progress")
_UNFINISHED_JOB_RUN = ("PENDING", "PAUSING", "PAUSED", "RESUMING")


def wait_for_run(target: ApiClient, run_id: str) -> dict[str, Any]:
    """Wait until an existing Run has ended, and return its result. Ctrl-C ends the waiting, not the Run.

    Raises:
        CallboardError: The API refuses, or has not answered for a minute.
    """
    place = f"run/{quote_segment(run_id)}/result"
    since = time.monotonic()
    with status_line(f"Run {run_id}", f"callboard runs result {run_id} --wait -p {target.project}") as line:
        query = {"wait": _POLL_SECONDS if line else _LONG_POLL_SECONDS}
        while (answer := retry_unavailable(lambda: target.request("GET", place, query=query)))["status"] in UNFINISHED:
            if line:
                run = retry_unavailable(lambda: target.request("GET", f"runs/{quote_segment(run_id)}"))
                line.update(Text(f"Run {run_id} {_describe_progress(run)}, {time.monotonic() - since:.0f} s"))
        return answer


def wait_for_job_run(target: ApiClient, job_id: str, job_run_id: str) -> dict[str, Any]:
    """Wait until an existing JobRun has ended, and return it. Ctrl-C ends the waiting, not the JobRun.

    Raises:
        CallboardError: The API refuses, or has not answered for a minute.
    """
    place = f"jobs/{quote_segment(job_id)}/runs/{quote_segment(job_run_id)}"
    since = time.monotonic()
    with status_line(f"JobRun {job_run_id}", f"callboard jobruns get {job_run_id} -p {target.project}") as line:
        while True:
            answer = retry_unavailable(lambda: target.request("GET", place))
            job_run: dict[str, Any] = answer["jobRun"]
            if job_run["status"] not in _UNFINISHED_JOB_RUN:
                return answer
            if line:
                line.update(
                    Text(
                        f"JobRun {job_run_id} is {job_run['status']}: {format_run_counts(job_run)}, "
                        f"{time.monotonic() - since:.0f} s"
                    )
                )
            time.sleep(_POLL_SECONDS)


def wait_for_bulk(target: ApiClient, bulk_id: str) -> dict[str, Any]:
    """Wait until a request about many Runs has ended, and return it. Ctrl-C ends the waiting only.

    Raises:
        CallboardError: The API refuses, or has not answered for a minute.
    """
    place = f"runs/bulk/{quote_segment(bulk_id)}"
    hint = f"To abort it: callboard runs bulk abort {bulk_id} -p {target.project}"
    with status_line(f"Request {bulk_id}", hint) as line:
        while (bulk := retry_unavailable(lambda: target.request("GET", place)))["status"] == "running":
            if line:
                line.update(Text(f"{bulk['done'] + bulk['failedCount']} of {bulk['matched']} Runs"))
            time.sleep(_POLL_SECONDS)
        return bulk


def wait_for_operation(what: str, look: Callable[[], dict[str, Any]], timeout: timedelta) -> dict[str, Any]:
    """Call `look` until the operation on an AuthSession has ended or the time is over, and return its last answer.

    Raises:
        CallboardError: The API refuses, or has not answered for a minute.
    """
    since = time.monotonic()
    with status_line(what) as line:
        while (answer := retry_unavailable(look))["status"] in UNFINISHED_OPERATION:
            seconds = time.monotonic() - since
            if seconds > timeout.total_seconds():
                break
            if line:
                line.update(Text(f"{what} is {answer['status']}, {seconds:.0f} s"))
            time.sleep(_POLL_SECONDS / 2)
        return answer


def wait_for_deploy(target: ApiClient, deploy_id: str) -> dict[str, Any]:
    """Wait until a deploy has ended, with what follows it, and return its result. Ctrl-C ends the waiting only.

    Raises:
        CallboardError: The API refuses, or has not answered for a minute.
    """
    what, since = f"Deploy of {target.project}", time.monotonic()
    with status_line(what, f"callboard projects versions -p {target.project}") as line:
        while True:
            answer = retry_unavailable(lambda: target.request("GET", "deploy/result", query={"id": deploy_id}))
            resources = answer["resources"] or {"status": "completed"}
            waited = time.monotonic() - since
            if answer["status"] != "pending" and (resources["status"] != "pending" or waited > _RESOURCES_SECONDS):
                return answer
            if line:
                step = (
                    answer["message"] if answer["status"] == "pending" else "Jobs and AuthSessions are being changed."
                )
                line.update(Text(f"{what}, {waited:.0f} s: {step}"))
            time.sleep(_POLL_SECONDS / 2)


def retry_unavailable[T](ask: Callable[[], T]) -> T:
    """Call an API that has answered before; if it does not answer now, try again for a minute."""
    try:
        return ask()
    except Unavailable as error:
        print_message(f"{error.message} Retrying for {_RETRY_SECONDS:g} s …")
    deadline = time.monotonic() + _RETRY_SECONDS
    while True:
        time.sleep(_POLL_SECONDS)
        try:
            return ask()
        except Unavailable:
            if time.monotonic() > deadline:
                raise


@contextmanager
def status_line(what: str, afterwards: str = "") -> Generator[Status | None]:
    """Show a status line on a terminal, and yield None elsewhere; exit with a hint on Ctrl-C."""
    console = Console(stderr=True)
    try:
        if console.is_terminal:
            with console.status(Text(what)) as line:
                yield line
        else:
            yield None
    except KeyboardInterrupt:
        print_message(f"{what} continues. {afterwards}".rstrip())
        raise Leave(ExitCode.INTERRUPTED) from None


def _describe_progress(run: dict[str, Any]) -> str:
    waiting = run["waiting"]
    if waiting is not None:
        return f"is {run['status']}, and waits for {format_waiting(waiting)}"
    running = [attempt for attempt in run["attempts"] if attempt["status"] == "started"]
    if running:
        where = f"on Machine {running[-1]['machine']}" if running[-1]["startedAt"] else "has its Machine started"
        return f"is {run['status']}: Attempt {running[-1]['number']} {where}"
    return f"is {run['status']}"
