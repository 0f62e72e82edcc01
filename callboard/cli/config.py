"""`callboard config`: the current settings, with secrets masked."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

import typer
from pydantic import SecretStr

from callboard.cli.options import load_settings
from callboard.settings import Settings
from callboard.temporal.connection_config import find_connection
from callboard.temporal.durations import format_duration


def config() -> None:
    """Print all settings with their sources and values, and how Temporal is connected to. Secrets are masked."""
    settings = load_settings()
    rows = [("VARIABLE", "SOURCE", "VALUE")]
    for field in Settings.model_fields:
        source = "environment" if field in settings.model_fields_set else "default"
        rows.append((f"CALLBOARD_{field.upper()}", source, _format_value(getattr(settings, field))))
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    for variable, source, value in rows:
        typer.echo(f"{variable:{first}}  {source:{second}}  {value}")
    # It comes last: if it cannot be used, its error stands below the settings.
    typer.echo(f"{'TEMPORAL_*':{first}}  {'together':{second}}  {find_connection(settings)}")


def _format_value(value: object) -> str:
    if value is None or value == []:
        return "not set"
    if isinstance(value, list):
        return ", ".join(_format_value(item) for item in cast("list[object]", value))
    if isinstance(value, SecretStr):
        return "********"
    if isinstance(value, timedelta):
        return format_duration(value)
    return str(value)
