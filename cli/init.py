"""`callboard init`: write what `docker compose up` needs, with secrets that nobody has had before."""

from __future__ import annotations

import os
import secrets
import shutil
import uuid
from pathlib import Path
from typing import Annotated

import typer

from devstack.data_folder import new_secret, new_webhook_secret
from schemas.errors import BadRequest
from settings import installed_version

_SOURCE = Path(__file__).parents[1]
_COMPOSE_FILE = "docker-compose.yml"
_FILES = (
    _COMPOSE_FILE,
    "devstack/Caddyfile",
    "hosting/caddy",
    "hosting/chromium-seccomp.LICENSE",
    "hosting/chromium-seccomp.json",
    "hosting/docker-compose.tls.yml",
    "hosting/observe",
)
"""The compose files, and the files and folders that they name."""


def init(
    directory: Annotated[Path, typer.Argument(metavar="[DIR]", help="Folder for the files.")] = Path(),
) -> None:
    """Write the files of an installation with Docker Compose: `.env` with new secrets, which only you can read.

    The compose files are written, too, if the folder has no docker-compose.yml. Nothing is overwritten.
    """
    env = directory / ".env"
    has_compose_file = (directory / _COMPOSE_FILE).exists()
    written = [env] if has_compose_file else [env, *(directory / name for name in _FILES)]
    if there := [str(path) for path in written if path.exists()]:
        raise BadRequest(f"{', '.join(there)} is there and was left unchanged. Name another folder, or remove it.")
    workspace = uuid.uuid4()
    image = None if has_compose_file else f"callboard:{installed_version()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path in written[1:]:
            _copy(_SOURCE / path.relative_to(directory), path)
        descriptor = os.open(env, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(_env_file(workspace, image))
    except OSError as error:
        raise BadRequest(f"{directory} cannot be written: {error.strerror}.") from error
    for path in written:
        typer.echo(f"  {path}")
    typer.echo(
        f"The key of the API is CALLBOARD_API_KEYS in {env}, and the workspace is {workspace}.\n"
        f"Keep a copy of {env} in a safe place: without CALLBOARD_SECRET_KEY, nobody can open what is sealed."
    )
    if image is not None:
        typer.echo(
            f"The services need the image {image}: load it into Docker, or name the one of your registry as"
            f" CALLBOARD_IMAGE in {env}."
        )
    typer.echo("Start all of it in that folder with: docker compose up --detach")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def _env_file(workspace: uuid.UUID, image: str | None) -> str:
    lines = [
        "# Made by `callboard init`. What is secret here is nowhere else: keep a copy in a safe place.",
        *([] if image is None else [f"CALLBOARD_IMAGE={image}"]),
        f"CALLBOARD_WORKSPACE_ID={workspace}",
        "# Keys that open the API, comma-separated.",
        f"CALLBOARD_API_KEYS={new_secret('cb_')}",
        "# Seals secrets.",
        f"CALLBOARD_SECRET_KEY={secrets.token_hex(32)}",
        "# Signs webhooks; receivers verify them with it.",
        f"CALLBOARD_WEBHOOK_SECRETS={new_webhook_secret()}",
        "# Password of Temporal's database, which keeps the one that it was made with.",
        f"POSTGRES_PASSWORD={secrets.token_hex(32)}",
        "# Keys to the artifact store: of the api, of workers, of deploys.",
        *(f"ARTIFACTS_{who}_SECRET={secrets.token_hex(32)}" for who in ("API", "WORKER", "DEPLOY")),
        "# Password of Grafana's user admin, for the profile `observe`.",
        f"GRAFANA_PASSWORD={secrets.token_hex(32)}",
        "",
    ]
    return "\n".join(lines)
