"""`callboard deploy`: publish a project folder as a version."""

from __future__ import annotations

import asyncio
import getpass
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from cli.environments import open_environments
from cli.options import DataFolder, load_settings
from projects.deploy import deploy as deploy_folder
from storage.factory import open_store

_GIT_TIMEOUT = 10
"""Seconds that git gets for each answer."""


def deploy(
    project_dir: Annotated[Path, typer.Argument(metavar="DIR", help="Project folder.")],
    artifacts: Annotated[
        str | None, typer.Option(help="Artifact store. Default: CALLBOARD_ARTIFACTS, else the data folder.")
    ] = None,
    message: Annotated[str | None, typer.Option("-m", "--message", help="What the deploy is about.")] = None,
    no_promote: Annotated[
        bool, typer.Option("--no-promote", help="Only store the version; `callboard projects promote` deploys it.")
    ] = False,
    data: DataFolder = None,
) -> None:
    """Deploy a project folder as a new version. Runs in flight keep their version."""
    settings = load_settings(artifacts=artifacts, data_dir=data)
    location = settings.artifact_location
    environments = open_environments(settings)
    store = open_store(location, endpoint=settings.artifacts_endpoint)
    manifest = asyncio.run(
        deploy_folder(
            project_dir,
            store,
            environments,
            max_machines=settings.max_machines,
            by=f"{_user()}@{socket.gethostname()}",
            message=message,
            commit=find_commit(project_dir),
            promote=not no_promote,
        )
    )
    done = "Stored" if no_promote else "Deployed"
    typer.echo(f"{done} {manifest.project}, version {manifest.version}, to {location}")
    typer.echo(f"APIs: {', '.join(manifest.apis)}")
    for warning in manifest.warnings:
        typer.secho(f"warning: {warning}", fg=typer.colors.YELLOW, err=True)


def _user() -> str:
    """Return who deploys. In a container, a user need not have a name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # the second one is that of Python 3.12
        return str(os.getuid())


def find_commit(folder: Path) -> str | None:
    """Return the git commit of a folder, with `-dirty` if its files differ from it; None if git knows of none."""
    git = shutil.which("git")
    if git is None or not folder.is_dir():
        return None

    def ask(*arguments: str) -> str | None:
        # Settings of the repository may name programs, and a deploy executes nothing of a project.
        command = [git, "-c", "core.fsmonitor=false", "--no-optional-locks", "-C", str(folder), *arguments]
        try:
            asked = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_GIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            return None
        return asked.stdout.strip() if asked.returncode == 0 else None

    commit = ask("rev-parse", "--verify", "HEAD")
    return commit and (f"{commit}-dirty" if ask("status", "--porcelain", "--", ".") != "" else commit)
