"""`callboard venv`: make the environment of a project in its folder."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from callboard.cli.environments import open_environments
from callboard.cli.options import load_settings
from callboard.cli.output import print_message
from callboard.projects.files import list_project_files
from callboard.projects.languages import Language, find_language
from callboard.projects.node.modules_folder import ensure_modules
from callboard.projects.venv import ensure_venv


def venv(
    project_dir: Annotated[Path, typer.Argument(metavar="[DIR]", help="Project folder.")] = Path(),
) -> None:
    """Make .venv in a project folder, with the project's packages, Playwright, callboard-runtime and pytest.

    Editors find all imports there, and `callboard run` uses it. It is made anew if it is out of date, and is no part of
    any version. For a project in TypeScript, this is node_modules.
    """
    folder = project_dir.resolve()
    if find_language(file.path for file in list_project_files(folder)) is Language.TYPESCRIPT:
        typer.echo(f"The project's packages are in {asyncio.run(ensure_modules(folder, print_message))}")
        return
    python = asyncio.run(ensure_venv(folder, open_environments(load_settings()), print_message))
    typer.echo(f"The project's interpreter is {python}")
