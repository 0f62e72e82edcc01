"""`callboard attempts …`: the records, logs, traces and files of the Attempts of a Run."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from callboard.cli.api_client import ApiClient, quote_segment
from callboard.cli.attempt_files import download_files
from callboard.cli.logs import print_log, stream_followed, stream_stored
from callboard.cli.options import AsJson
from callboard.cli.output import open_output, output_folder, print_json, print_message, print_table
from callboard.cli.render import print_attempt
from callboard.cli.with_api import with_project
from callboard.schemas.errors import NotFound

app = typer.Typer(
    help="Inspect the Attempts of a Run, their logs, traces and files.", no_args_is_help=True, add_completion=False
)

RunId = Annotated[str, typer.Argument(metavar="RUN_ID")]
Number = Annotated[
    int | None, typer.Argument(metavar="NUMBER", min=1, help="Number of the Attempt. Default: the latest.")
]


@app.command()
@with_project
def get(target: ApiClient, run_id: RunId, number: Number = None, as_json: AsJson = False) -> None:
    """Show an Attempt with its error, Machine and resource usage."""
    attempt = target.request("GET", _attempt_path(run_id, number or _latest_number(target, run_id)))
    print_json(attempt) if as_json else print_attempt(attempt)


@app.command()
@with_project
def log(
    target: ApiClient,
    run_id: RunId,
    number: Number = None,
    follow: Annotated[bool, typer.Option("--follow", help="Print new lines until the Attempt has ended.")] = False,
    output_file: Annotated[
        Path | None, typer.Option("--output-file", "-o", metavar="FILE", help="Write the log to a file, as JSON lines.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the log of an Attempt. With --json, print JSON lines."""
    place = f"{_attempt_path(run_id, number or _latest_number(target, run_id, default=1 if follow else None))}/log"
    lines = stream_followed(target, place) if follow else stream_stored(target, place)
    if output_file is not None:
        first = list(itertools.islice(lines, 1))  # If the log cannot be had, this raises before the file is touched.
        with open_output(output_file) as out:
            for line in itertools.chain(first, lines):
                out.write(f"{line}\n".encode())
                out.flush()
        typer.echo(str(output_file))
    elif as_json:
        for line in lines:
            typer.echo(line)
    else:
        print_log(lines)


@app.command()
@with_project
def trace(
    target: ApiClient,
    run_id: RunId,
    number: Number = None,
    output_file: Annotated[
        Path | None,
        typer.Option(
            "--output-file", "-o", metavar="FILE", help="File to write. Default: output/trace_RUN_ID_NUMBER.zip."
        ),
    ] = None,
    open_it: Annotated[
        bool, typer.Option("--open", help="Open the trace in the viewer of the API; save it only with -o.")
    ] = False,
) -> None:
    """Download the Playwright trace of an Attempt, or open it in a browser.

    With --open, the address of the viewer is printed, too. It is valid for an hour, and needs no key.
    """
    number = number or _latest_number(target, run_id)
    if open_it:
        page = f"projects/{quote_segment(target.project)}/runs/{quote_segment(run_id)}/attempts/{number}/trace/view"
        address = target.find_redirect(page)
        typer.echo(address)
        if sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
            typer.launch(address)  # Without a desktop, this could open a browser in this terminal.
        if output_file is None:
            return
    with tempfile.TemporaryFile() as copy:
        target.download(f"{_attempt_path(run_id, number)}/trace", copy)
        copy.seek(0)
        file = output_file or output_folder() / f"trace_{run_id}_{number}.zip"
        with open_output(file) as out:
            shutil.copyfileobj(copy, out)
        typer.echo(str(file))


@app.command()
@with_project
def files(
    target: ApiClient,
    run_id: RunId,
    number: Number = None,
    into: Annotated[
        Path | None,
        typer.Option("--output-folder", "-o", metavar="FOLDER", help="Write the files below this folder."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the files that an Attempt has left, or download them with -o.

    With --json, each has a link, which is valid for an hour and needs no key.
    """
    path = _attempt_path(run_id, number or _latest_number(target, run_id))
    answer = target.request("GET", f"{path}/files")
    if as_json:
        print_json(answer)
    elif into is None:
        rows = [(file["name"], file["size"], file["contentType"], file["sha256"]) for file in answer["files"]]
        print_table(("NAME", "BYTES", "TYPE", "SHA-256"), rows)
    if into is not None:
        for file in download_files(target, path, answer["files"], into):
            print_message(str(file)) if as_json else typer.echo(str(file))


def _latest_number(target: ApiClient, run_id: str, *, default: int | None = None) -> int:
    attempts: list[dict[str, Any]] = target.request("GET", f"runs/{quote_segment(run_id)}")["attempts"]
    if attempts:
        return attempts[-1]["number"]
    if default is not None:
        return default
    raise NotFound(f"Run {run_id} has no Attempt yet.")


def _attempt_path(run_id: str, number: int) -> str:
    return f"runs/{quote_segment(run_id)}/attempts/{number}"
