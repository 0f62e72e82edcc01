"""`callboard setup-namespace`: sets up a Temporal namespace for Callboard, and is run again to change it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated

import typer
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_delay, wait_fixed

from cli.options import load_settings
from schemas.errors import Unavailable
from settings import Settings
from temporal.client import connect
from temporal.durations import format_duration
from temporal.namespace import Retention, ensure_namespace

_RETRY_TIMEOUT = timedelta(seconds=60)
"""How long to wait for a Temporal that is just starting."""


def setup_namespace(
    retention: Annotated[
        str | None,
        typer.Option(
            help="Keep Runs this long after they end, such as 7d or 12h. Default: CALLBOARD_RUN_RETENTION, else 7d."
        ),
    ] = None,
    artifact_retention: Annotated[
        str | None,
        typer.Option(help="Keep artifacts this long. Default: CALLBOARD_ARTIFACT_RETENTION, else a day longer."),
    ] = None,
) -> None:
    """Create or update the Temporal namespace that Callboard uses.

    This sets the retention of Runs, adds the search attributes, and schedules the removal of old artifacts, in the
    namespace CALLBOARD_TEMPORAL_NAMESPACE at CALLBOARD_TEMPORAL_ADDRESS. It is safe to repeat, also at every start.
    """
    settings = load_settings(run_retention=retention, artifact_retention=artifact_retention)
    done = asyncio.run(_ensure_namespace(settings))
    for line in done or [_up_to_date(settings)]:
        typer.echo(line)


async def _ensure_namespace(settings: Settings) -> list[str]:
    client = await connect(settings, lazy=True, identity="callboard-setup-namespace")
    told = False

    def tell(state: RetryCallState) -> None:
        nonlocal told
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, Unavailable) and not told:
            typer.echo(f"{error.message} Retrying for {format_duration(_RETRY_TIMEOUT)} …", err=True)
            told = True

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(Unavailable),
        wait=wait_fixed(0.5),
        stop=stop_after_delay(_RETRY_TIMEOUT),
        before_sleep=tell,
        reraise=True,
    )
    return await retrying(ensure_namespace, client, Retention.from_settings(settings))


def _up_to_date(settings: Settings) -> str:
    return (
        f"Namespace {settings.temporal_namespace!r} at {settings.temporal_address} is up to date: Runs are kept for"
        f" {format_duration(settings.run_retention)}, and their artifacts for"
        f" {format_duration(settings.artifacts_kept)}."
    )
