"""`callboard attempts …`: what the tries of a Run have left."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.output import print_json, say
from cli.reading_logs import followed, print_line
from cli.showing import show_attempt
from cli.target import AsJson, Target, on_project, part
from cli.viewer import show_trace
from contract.errors import NotFound

app = typer.Typer(help="Attempts of a Run: their records, logs and traces.", no_args_is_help=True)

RunId = Annotated[str, typer.Argument(metavar="RUN_ID")]
Number = Annotated[int | None, typer.Argument(metavar="[NUMBER]", min=1, help="Default: the latest.")]


@app.command()
@on_project
def get(target: Target, run_id: RunId, number: Number = None, as_json: AsJson = False) -> None:
    """Show an Attempt: how it ended, where it ran, and what it took."""
    attempt = target.call("GET", _place(run_id, number or _latest(target, run_id)))
    print_json(attempt) if as_json else show_attempt(attempt)


@app.command()
@on_project
def log(
    target: Target,
    run_id: RunId,
    number: Number = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until the Attempt has ended; wait for it first.")
    ] = False,
    output_file: Annotated[
        Path | None, typer.Option("--output-file", "-o", metavar="FILE", help="Save it there, as JSON lines.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print an Attempt's log; with --json, as it is stored: a JSON object a line."""
    place = f"{_place(run_id, number or _latest(target, run_id, default=1 if follow else None))}/log"
    if output_file is not None and not follow:
        target.remote.save(target.place(place), output_file)
        say(f"Saved to {output_file}.")
        return
    if output_file is not None:
        with output_file.open("w", encoding="utf-8") as out:
            for line in followed(target, place):
                out.write(f"{line}\n")
                out.flush()
        return
    if follow:
        for line in followed(target, place):
            print_line(line, as_json=as_json)
        return
    with target.remote.lines(target.place(place)) as lines:
        for line in lines:
            print_line(line, as_json=as_json)


@app.command()
@on_project
def trace(
    target: Target,
    run_id: RunId,
    number: Number = None,
    output_file: Annotated[
        Path | None,
        typer.Option("--output-file", "-o", metavar="FILE", help="Default: trace_RUN_ID_NUMBER.zip in this folder."),
    ] = None,
    open_it: Annotated[
        bool, typer.Option("--open", help="Open it in Playwright's trace viewer; it is saved only with -o.")
    ] = False,
) -> None:
    """Save an Attempt's trace, a Playwright trace; or open it in the browser, until Ctrl-C."""
    number = number or _latest(target, run_id)
    place = target.place(f"{_place(run_id, number)}/trace")
    if not open_it:
        file = output_file or Path(f"trace_{run_id}_{number}.zip")
        target.remote.save(place, file)
        typer.echo(str(file))
        return
    with tempfile.TemporaryDirectory(prefix="callboard-trace-") as folder:
        file = output_file or Path(folder) / f"trace_{run_id}_{number}.zip"
        target.remote.save(place, file)
        show_trace(file)


def _latest(target: Target, run_id: str, *, default: int | None = None) -> int:
    attempts: list[dict[str, Any]] = target.call("GET", f"runs/{part(run_id)}")["attempts"]
    if attempts:
        return attempts[-1]["number"]
    if default is not None:
        return default
    raise NotFound(f"Run {run_id} has no Attempt yet.")


def _place(run_id: str, number: int) -> str:
    return f"runs/{part(run_id)}/attempts/{number}"
