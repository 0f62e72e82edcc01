"""Answers that are files: printed, or written to a file that the user has named."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlencode

import typer

from callboard.cli.api_client import ApiClient
from callboard.cli.output import open_output, strip_control

OutputFile = Annotated[
    Path | None, typer.Option("--output-file", "-o", metavar="FILE", help="Write it to a file.", show_default=False)
]
RowsForm = Annotated[Literal["json", "jsonl", "csv"], typer.Option("--format", help="How rows are written.")]
RawRows = Annotated[
    bool, typer.Option("--raw", help="In CSV, put no apostrophe before texts that a spreadsheet would execute.")
]


def download(target: ApiClient, path: str, output_file: Path | None) -> None:
    """Print an answer that is a file, or write it to `output_file` and print its name.

    It is written once it has come as a whole: if the download breaks off, no file looks like the answer.
    """
    with tempfile.TemporaryFile() as copy:
        target.download(path, copy)
        copy.seek(0)
        if output_file is not None:
            with open_output(output_file) as out:
                shutil.copyfileobj(copy, out)
            typer.echo(str(output_file))
        elif sys.stdout.isatty():  # CSV holds what user code has returned, as it is
            for line in copy:
                typer.echo(strip_control(line.decode(errors="replace").rstrip("\r\n")))
        else:
            shutil.copyfileobj(copy, sys.stdout.buffer)


def download_rows(target: ApiClient, path: str, form: str, raw: bool, output_file: Path | None) -> None:
    """Print rows in this form, or write them to `output_file`."""
    query = urlencode({"format": form} | ({"raw": "true"} if raw else {}))
    download(target, f"{path}?{query}", output_file)
