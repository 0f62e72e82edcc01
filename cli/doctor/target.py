"""The installation that is checked: the `callboard dev` that runs on the data folder, else that of the environment."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from pydantic import SecretStr

from cli.options import settings_with
from devstack import data_folder
from devstack.dev import WEBHOOK_KEY_FILE
from devstack.temporal import NAMESPACE
from settings import Settings


@dataclass(frozen=True)
class Place:
    """An installation with the settings that its api and its workers have."""

    settings: Settings
    dev: bool
    """Whether it is a running `callboard dev`."""


def find_place(data: Path | None) -> Place:
    """Return the installation to check.

    Raises:
        ConfigurationError: The settings are wrong.
    """
    settings = settings_with(data_dir=data)
    folder = settings.data_dir.expanduser().resolve()
    card = None if "temporal_address" in settings.model_fields_set else _card(folder)
    if card is None:
        return Place(settings, dev=False)
    dev = {
        "data_dir": folder,
        "temporal_address": card["temporalAddress"],
        "temporal_namespace": NAMESPACE,
        "api_keys": [SecretStr(card["apiKey"])],
        "secret_key": settings.secret_key or _kept(folder / "secret-key"),
        "webhook_secrets": settings.webhook_secrets or _kept(folder / WEBHOOK_KEY_FILE),
    }
    return Place(settings.model_copy(update=dev), dev=True)


def _card(folder: Path) -> dict[str, Any] | None:
    """Return the content of `dev.json` if its stack runs; a stack that was killed may have left the file behind."""
    try:
        card: dict[str, Any] = json.loads((folder / "dev.json").read_bytes())
    except (OSError, ValueError):
        return None
    return card if psutil.pid_exists(card["pid"]) else None


def _kept(file: Path) -> list[SecretStr]:
    secret = data_folder.kept_secret(file)
    return [] if secret is None else [SecretStr(secret)]
