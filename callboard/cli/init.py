"""`callboard init`: write what an installation needs, with secrets that nobody has had before."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from callboard.dev.data_folder import new_secret, new_webhook_secret
from callboard.schemas.errors import BadRequest
from callboard.settings import installed_version

_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "installation", _PACKAGE.parent)
"""Where the files lie: in a wheel, they are data of this package; in a checkout, at its top."""
_COMPOSE_FILE = "docker-compose.yml"
_FILES = (
    _COMPOSE_FILE,
    "callboard/dev/Caddyfile",
    "hosting/caddy",
    "hosting/chromium-seccomp.LICENSE",
    "hosting/chromium-seccomp.json",
    "hosting/docker-compose.tls.yml",
    "hosting/observe",
)
"""The compose files, and the files and folders that they name."""
_ETC = Path("/etc")
_UNITS = "hosting/systemd"
_PREFIX = "/opt/callboard"
"""Where the units expect Callboard to be installed."""
_PRIVATE, _PUBLIC = 0o600, 0o644


def init(
    directory: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Folder for the files. Default: this one, or /etc.")
    ] = None,
    systemd: Annotated[
        bool, typer.Option("--systemd", help="For services of systemd, not for Docker Compose.")
    ] = False,
) -> None:
    """Write the files of an installation, with new secrets that only you can read. Nothing is overwritten.

    For Docker Compose: `.env`, and the compose files if the folder has no docker-compose.yml. For systemd: the settings
    in callboard/ and the units in systemd/system/, which belong into /etc.
    """
    if systemd:
        _init_systemd(directory or _ETC)
    else:
        _init_compose(directory or Path())


def _init_compose(directory: Path) -> None:
    env = directory / ".env"
    has_compose_file = (directory / _COMPOSE_FILE).exists()
    copied = [] if has_compose_file else list(_FILES)
    workspace = uuid.uuid4()
    image = None if has_compose_file else f"callboard:{installed_version()}"
    _refuse_existing([env, *(directory / name for name in copied)])
    try:
        for name in copied:
            _copy(_source(name), directory / name)
        _write(env, _env_file(workspace, image), _PRIVATE)
    except OSError as error:
        raise _unwritable(directory, error) from error
    _tell([env, *(directory / name for name in copied)], env, env, workspace)
    if image is not None:
        typer.echo(
            f"The services need the image {image}: load it into Docker, or name the one of your registry as"
            f" CALLBOARD_IMAGE in {env}."
        )
    typer.echo("Start all of it in that folder with: docker compose up --detach")


def _init_systemd(directory: Path) -> None:
    workspace = uuid.uuid4()
    settings = directory / "callboard"
    texts = {settings / f"{name}.env": text for name, text in _settings_of_services(workspace).items()}
    units = {
        (settings if unit.suffix == ".sh" else directory / "systemd" / "system") / unit.name: unit.read_text().replace(
            _PREFIX, sys.prefix
        )
        for unit in sorted(_source(_UNITS).iterdir())
    }
    _refuse_existing([*texts, *units])
    try:
        for files, mode in ((texts, _PRIVATE), (units, _PUBLIC)):
            for path, text in files.items():
                _write(path, text, mode)
    except OSError as error:
        raise _unwritable(directory, error) from error
    _tell([*texts, *units], settings / "api.env", settings, workspace)


def _refuse_existing(paths: Sequence[Path]) -> None:
    if there := [str(path) for path in paths if path.exists()]:
        raise BadRequest(f"{', '.join(there)} is there and was left unchanged. Name another folder, or remove it.")


def _unwritable(directory: Path, error: OSError) -> BadRequest:
    return BadRequest(f"{directory} cannot be written: {error.strerror}.")


def _tell(written: Sequence[Path], keys: Path, secret: Path, workspace: uuid.UUID) -> None:
    for path in written:
        typer.echo(f"  {path}")
    typer.echo(
        f"The key of the API is CALLBOARD_API_KEYS in {keys}, and the workspace is {workspace}.\n"
        f"Keep a copy of {secret} in a safe place: without CALLBOARD_SECRET_KEY, nobody can open what is sealed."
    )


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _source(name: str) -> Path:
    return next(place / name for place in _PLACES if (place / name).exists())


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def _settings_of_services(workspace: uuid.UUID) -> Mapping[str, str]:
    """Return the settings of each service by the name of its file."""
    head = "# Made by `callboard init`. What is secret here is nowhere else: keep a copy in a safe place."
    files = {
        "callboard": [
            head,
            "CALLBOARD_DATA_DIR=/var/lib/callboard",
            "# Temporal: callboard-temporal.service, unless you have another one.",
            "CALLBOARD_TEMPORAL_ADDRESS=127.0.0.1:7233",
            "# The artifact store: a folder of this host, or s3://bucket/prefix.",
            "CALLBOARD_ARTIFACTS=/var/lib/callboard/artifacts",
            f"CALLBOARD_WORKSPACE_ID={workspace}",
            "# Seals secrets.",
            f"CALLBOARD_SECRET_KEY={secrets.token_hex(32)}",
        ],
        "api": [
            head,
            "# Keys that open the API, comma-separated.",
            f"CALLBOARD_API_KEYS={new_secret('cb_')}",
        ],
        "worker": [
            head,
            "# Signs webhooks; receivers verify them with it.",
            f"CALLBOARD_WEBHOOK_SECRETS={new_webhook_secret()}",
            f"PLAYWRIGHT_BROWSERS_PATH={sys.prefix}/browsers",
        ],
    }
    return {name: "\n".join([*lines, ""]) for name, lines in files.items()}


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
