"""`callboard setup-namespace`: sets up a Temporal namespace for Callboard, and is run again to change it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated

import typer
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_delay, wait_fixed

from cli.options import settings_with
from schemas.errors import Unavailable
from settings import Settings
from temporal.client import connect
from temporal.durations import said
from temporal.namespace import Retention, ensure_namespace

_PATIENCE = timedelta(seconds=60)
"""How long to wait for a Temporal that is just starting."""


def setup_namespace(
    retention: Annotated[
        str | None,
        typer.Option(help="How long Runs are known after their end: 7d, 12h. Default: CALLBOARD_RUN_RETENTION, 7d."),
    ] = None,
    artifact_retention: Annotated[
        str | None,
        typer.Option(help="How long what they leave is kept. Default: CALLBOARD_ARTIFACT_RETENTION, a day longer."),
    ] = None,
) -> None:
    """Make the Temporal namespace, or bring it up to date: retention, search attributes, and sweeps of artifacts.

    It is that of CALLBOARD_TEMPORAL_NAMESPACE, at CALLBOARD_TEMPORAL_ADDRESS. What is as it should be stays as it is,
    so this may be done at every start.
    """
    settings = settings_with(run_retention=retention, artifact_retention=artifact_retention)
    done = asyncio.run(_set_up(settings))
    for line in done or [_as_it_should_be(settings)]:
        typer.echo(line)


async def _set_up(settings: Settings) -> list[str]:
    client = await connect(settings, lazy=True, identity="callboard-setup-namespace")
    told = False

    def tell(state: RetryCallState) -> None:
        nonlocal told
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, Unavailable) and not told:
            typer.echo(f"{error.message} Trying again for {said(_PATIENCE)} …", err=True)
            told = True

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(Unavailable),
        wait=wait_fixed(0.5),
        stop=stop_after_delay(_PATIENCE),
        before_sleep=tell,
        reraise=True,
    )
    return await retrying(ensure_namespace, client, Retention.of(settings))


def _as_it_should_be(settings: Settings) -> str:
    return (
        f"Namespace {settings.temporal_namespace!r} at {settings.temporal_address} is as it should be: Runs are known"
        f" for {said(settings.run_retention)}, and their artifacts kept for {said(settings.artifacts_kept)}."
    )
