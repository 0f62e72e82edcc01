"""`callboard api` and `callboard worker`, the two parts of a production installation, and `callboard temporal`.

Each command becomes the part's own program (`python -m api`, `python -m worker`, `temporal`), so that signals reach it
and its exit code is the command's.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from callboard.cli.options import DataFolder, load_settings
from callboard.dev.temporal import server_command, server_environment
from callboard.schemas.errors import StackError


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


def temporal(
    data: Annotated[Path, typer.Option(help="Folder of the database. It is made if it does not exist.")],
    port: Annotated[int, typer.Option(help="Port of loopback to listen on.")] = 7233,
) -> None:
    """Run Temporal's dev server on a database file, as `callboard dev` does: enough for one small host.

    It is one process without a replica, so nothing is highly available: Runs stand still while it is down, and go on
    when it is back. It has no Web UI, and listens on loopback only.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StackError(f"The folder {data} cannot be made ({error.strerror}). Name another with --data.") from error
    command = [*server_command(data, port), "--headless"]
    os.umask(0o077)  # The database holds parameters and results.
    os.execve(command[0], command, server_environment())  # noqa: S606 - no shell, and no parent in between


def _exec(module: str, **options: str | int | Path | None) -> NoReturn:
    load_settings(**options)  # Wrong settings are reported here, in one sentence.
    given = {f"CALLBOARD_{name.upper()}": str(value) for name, value in options.items() if value is not None}
    # -P keeps Python from importing a folder `api` or a file `worker.py` of the working folder.
    command = [sys.executable, "-P", "-m", module]
    os.execve(sys.executable, command, os.environ | given)  # noqa: S606 - no shell, and no parent in between
