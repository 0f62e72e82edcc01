"""`callboard dev`: the embedded stack, in the foreground."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from callboard.cli.options import DataFolder, load_settings
from callboard.cli.output import strip_control
from callboard.dev.banner import banner
from callboard.dev.dev import DevStack
from callboard.dev.events import Event
from callboard.telemetry.logs import configure_logging, wants_json_logs

log = logging.getLogger("callboard.dev")

DEFAULT_TEMPORAL_PORT = 7233
DEFAULT_UI_PORT = 8233
_EVENTS = ("run", "handoff", "deployed", "machine-closed")
"""Kinds of events that `--quiet` leaves out. What goes wrong with a deploy or the stack itself is told all the same."""


def dev(
    projects_dir: Annotated[Path, typer.Argument(help="Folder whose project folders are deployed and served.")] = Path(
        "examples/projects"
    ),
    data: DataFolder = None,
    port: Annotated[int | None, typer.Option(help="Port of the API. Default: CALLBOARD_PORT, else 8400.")] = None,
    temporal_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the Temporal server.")
    ] = DEFAULT_TEMPORAL_PORT,
    ui_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of Temporal's Web UI.")] = DEFAULT_UI_PORT,
    quiet: Annotated[bool, typer.Option("--quiet", help="Tell nothing of Runs, deploys and Machines.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each line.")] = False,
) -> None:
    """Run Temporal, the API and a worker on this machine, and serve a folder of projects.

    New and changed project folders are published at once. A line tells of each Run as it ends, of each deploy, and of
    each Machine that had to be replaced. All ports listen on loopback; 0 picks a free port. Ctrl-C
    stops everything gracefully, a second Ctrl-C at once.
    """
    if wants_json_logs():
        configure_logging(level=logging.WARNING)
        log.setLevel(logging.INFO)
    report = partial(_report, quiet=quiet, as_json=as_json)
    stack = DevStack(
        projects_dir,
        load_settings(data_dir=data, port=port),
        temporal_port=temporal_port,
        ui_port=ui_port,
        report=report,
    )
    shows_new_key = not (as_json or wants_json_logs())
    asyncio.run(run_until_signalled(_serve(stack, report, shows_new_key), on_second_signal=stack.skip_grace))


async def _serve(stack: DevStack, report: Callable[[str], None], shows_new_key: bool) -> None:
    report("Starting …")
    try:
        async with stack:
            about = {"url": stack.url, "workspace": stack.settings.workspace, "temporalUiUrl": stack.temporal.ui_url}
            report(Event(banner(stack, shows_new_key=shows_new_key), "ready", **about))
            try:
                await stack.wait()
            finally:
                report("Stopping …")
    finally:
        report("Stopped.")


def _report(text: str, *, quiet: bool, as_json: bool) -> None:
    """Tell the user something: on a terminal, as JSON, or as records where the log is JSON, one for each line."""
    kind, fields = (text.kind, text.fields) if isinstance(text, Event) else ("message", {})
    if quiet and kind in _EVENTS:
        return
    if as_json:
        typer.echo(json.dumps({"event": kind, "text": text, **fields}, ensure_ascii=False))
    elif not wants_json_logs():
        typer.echo(strip_control(text))  # it may have texts of pages and user code
    else:
        for line in filter(None, text.splitlines()):
            log.info("%s", line)


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def run_until_signalled[T](work: Coroutine[Any, Any, T], *, on_second_signal: Callable[[], None]) -> T | None:
    """Run `work`, cancel it at the first SIGINT, SIGTERM or SIGHUP, and call `on_second_signal` at each further one.

    Return what `work` returned, or None if it was ended by a signal and has cleaned up after itself.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(work)
    signalled = False

    def on_signal() -> None:
        nonlocal signalled
        if signalled:
            on_second_signal()
        else:
            signalled = True
            task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        await asyncio.wait((task,))
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait((task,))
        raise
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
    if signalled and task.cancelled():
        return None
    return await task
