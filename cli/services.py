"""`callboard api` and `callboard worker`: the two parts of a production installation.

Each command becomes the part's own program (`python -m api`, `python -m worker`), so that signals reach it and its
exit code is the command's.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from cli.options import DataFolder, load_settings


def api(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. Default: CALLBOARD_HOST, else 127.0.0.1.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on. Default: CALLBOARD_PORT, else 8400.")] = None,
) -> None:
    """Run the API service: REST and the pages. It is stateless, so you can run several."""
    _exec("api", host=host, port=port)


def worker(
    project: Annotated[
        list[str] | None, typer.Option(help="Serve only this project; repeatable. Default: all projects.")
    ] = None,
    machines: Annotated[
        int | None, typer.Option(min=1, help="Most Machines of each project on this worker. Default: any.")
    ] = None,
    role: Annotated[
        Literal["all", "browser", "control"] | None,
        typer.Option(help="browser: execute Attempts; control: run workflows and deliver results; all: both."),
    ] = None,
    data: DataFolder = None,
) -> None:
    """Run a worker, which executes Runs in its browsers."""
    _exec("worker", data_dir=data, projects=",".join(project) if project else None, machines=machines, role=role)


def _exec(module: str, **options: str | int | Path | None) -> NoReturn:
    load_settings(**options)  # Wrong settings are reported here, in one sentence.
    given = {f"CALLBOARD_{name.upper()}": str(value) for name, value in options.items() if value is not None}
    # -P keeps Python from importing a folder `api` or a file `worker.py` of the working folder.
    command = [sys.executable, "-P", "-m", module]
    os.execve(sys.executable, command, os.environ | given)  # noqa: S606 - no shell, and no parent in between
