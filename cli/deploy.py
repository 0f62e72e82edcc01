"""`callboard deploy`: publish a project folder as a version."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from cli.environments import open_environments
from cli.options import DataFolder, load_settings
from projects.deploy import deploy as deploy_folder
from storage.factory import open_store


def deploy(
    project_dir: Annotated[Path, typer.Argument(metavar="DIR", help="Project folder.")],
    artifacts: Annotated[
        str | None, typer.Option(help="Artifact store. Default: CALLBOARD_ARTIFACTS, else the data folder.")
    ] = None,
    data: DataFolder = None,
) -> None:
    """Deploy a project folder as a new version. Runs in flight keep their version."""
    settings = load_settings(artifacts=artifacts, data_dir=data)
    location = settings.artifact_location
    environments = open_environments(settings)
    store = open_store(location, endpoint=settings.artifacts_endpoint)
    manifest = asyncio.run(deploy_folder(project_dir, store, environments, max_machines=settings.max_machines))
    typer.echo(f"Deployed {manifest.project}, version {manifest.version}, to {location}")
    typer.echo(f"APIs: {', '.join(manifest.apis)}")
    for warning in manifest.warnings:
        typer.secho(f"warning: {warning}", fg=typer.colors.YELLOW, err=True)
