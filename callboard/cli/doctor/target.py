"""The installation that is checked: the `callboard dev` that runs on the data folder, else that of the environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from callboard.cli.options import load_settings
from callboard.dev import data_folder
from callboard.dev.dev import WEBHOOK_SECRET_FILE
from callboard.dev.temporal import NAMESPACE
from callboard.settings import Settings


@dataclass(frozen=True)
class Installation:
    """An installation with the settings that its api and its workers have."""

    settings: Settings
    dev: bool
    """Whether it is a running `callboard dev`."""

    @property
    def hint(self) -> str:
        """A sentence on how to name another installation; empty if the user or the environment names this one."""
        if self.dev or self.settings.model_fields_set & {"temporal_address", "artifacts"}:
            return ""
        folder = self.settings.data_dir
        return f"No `callboard dev` runs on {folder}. If one runs on another data folder, name that with --data."


def find_installation(data: Path | None) -> Installation:
    """Return the installation to check.

    Raises:
        ConfigurationError: The settings are wrong.
    """
    settings = load_settings(data_dir=data)
    folder = settings.data_dir.expanduser().resolve()
    connection = None if "temporal_address" in settings.model_fields_set else data_folder.read_connection(folder)
    if connection is None:
        return Installation(settings, dev=False)
    dev = {
        "data_dir": folder,
        "temporal_address": connection["temporalAddress"],
        "temporal_namespace": NAMESPACE,
        "temporal_environment_config": False,
        "api_keys": [SecretStr(connection["apiKey"])],
        "secret_key": settings.secret_key or _read_secret(folder / "secret-key"),
        "live_address": settings.live_address or connection["url"],
        "webhook_secrets": settings.webhook_secrets or _read_secret(folder / WEBHOOK_SECRET_FILE),
    }
    return Installation(settings.model_copy(update=dev), dev=True)


def _read_secret(file: Path) -> list[SecretStr]:
    secret = data_folder.read_secret(file)
    return [] if secret is None else [SecretStr(secret)]
