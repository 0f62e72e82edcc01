"""`callboard new`: create a project that runs, to start from."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from callboard.projects.project_settings import NAME_RULE, is_project_name
from callboard.projects.skeleton import TEMPLATES, write_skeleton


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the project and of its folder.")],
    parent: Annotated[
        Path,
        typer.Option(
            "--in", metavar="DIR", help="Folder in which to create the project.", exists=True, file_okay=False
        ),
    ] = Path(),
    template: Annotated[str, typer.Option(metavar="|".join(TEMPLATES), help="What its API does.")] = "hello",
) -> None:
    """Create a project: a folder NAME with settings, one example API and a test. Nothing is overwritten."""
    if not is_project_name(name):
        raise typer.BadParameter(f"{name!r} is not a valid project name. Use {NAME_RULE}.", param_hint="NAME")
    if template not in TEMPLATES:
        raise typer.BadParameter(f"Expected {' or '.join(TEMPLATES)}.", param_hint="--template")
    for path in write_skeleton(parent, name, template):
        typer.echo(f"  {path}")
    typer.echo(f"Created project {name} with the API {TEMPLATES[template]}.")
    typer.echo(f"{parent / name / 'README.md'} says how to run and test it.")
    typer.echo(f"callboard dev {shlex.quote(str(parent))} serves it, and follows every change.")
