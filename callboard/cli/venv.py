"""`callboard venv`: make the environment of a project in its folder."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from callboard.cli.environments import open_environments
from callboard.cli.options import load_settings
from callboard.cli.output import print_message
from callboard.projects.venv import ensure_venv


def venv(
    project_dir: Annotated[Path, typer.Argument(metavar="[DIR]", help="Project folder.")] = Path(),
) -> None:
    """Make .venv in a project folder, with the project's packages, Playwright, callboard-runtime and pytest.

    Editors find all imports there, and `callboard run` uses it. It is made anew if it is out of date, and is no part of
    any version.
    """
    python = asyncio.run(ensure_venv(project_dir.resolve(), open_environments(load_settings()), print_message))
    typer.echo(f"The project's interpreter is {python}")
