"""`callboard new`: create a project that runs, to start from."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from projects.settings import NAME_RULE, is_project_name
from projects.skeleton import API_NAME, write_skeleton


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the project and of its folder.")],
    parent: Annotated[
        Path,
        typer.Option(
            "--in", metavar="DIR", help="Folder in which to create the project.", exists=True, file_okay=False
        ),
    ] = Path(),
) -> None:
    """Create a project: a folder NAME with settings and one example API. Nothing is overwritten."""
    if not is_project_name(name):
        raise typer.BadParameter(f"{name!r} is not a valid project name. Use {NAME_RULE}.", param_hint="NAME")
    for path in write_skeleton(parent, name):
        typer.echo(f"  {path}")
    typer.echo(f"Created project {name} with the API {API_NAME}.")
    typer.echo(f"  callboard dev {shlex.quote(str(parent))}   runs it, and publishes every change")
    typer.echo(f"  callboard deploy {shlex.quote(str(parent / name))}   deploys it to production")
