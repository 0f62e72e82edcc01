"""`callboard setup-namespace`: sets up a Temporal namespace for Callboard, and is run again to change it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated

import typer
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_delay, wait_fixed

from callboard.cli.exit_codes import ExitCode
from callboard.cli.options import load_settings
from callboard.schemas.errors import Unavailable
from callboard.settings import Settings
from callboard.temporal.client import connect
from callboard.temporal.connection_config import Connection, find_connection
from callboard.temporal.durations import format_duration
from callboard.temporal.namespace import NamespaceSetup, Retention, set_up_namespace
from callboard.temporal.namespace_steps import format_steps

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
    namespace CALLBOARD_TEMPORAL_NAMESPACE at CALLBOARD_TEMPORAL_ADDRESS, or in that of Temporal's own configuration. It
    is safe to repeat, also at every start. Where Temporal refuses a part of it, as Temporal Cloud does, the steps that
    are left are printed, and the exit code is 1.
    """
    settings = load_settings(run_retention=retention, artifact_retention=artifact_retention)
    connection = find_connection(settings)
    done = asyncio.run(_set_up(settings, connection))
    for line in done.changes:
        typer.echo(line)
    if done.steps:
        typer.echo(
            f"Temporal at {connection.address} does not let this client do the rest in the namespace"
            f" {connection.namespace!r}. It is left to somebody with the rights to change the namespace:"
        )
        for line in format_steps(done.steps):
            typer.echo(line)
        typer.echo("Then run `callboard setup-namespace` again, until it says that the namespace is up to date.")
        raise typer.Exit(ExitCode.FAILED)
    if not done.changes:
        typer.echo(
            f"Namespace {connection.namespace!r} at {connection.address} is up to date: Runs are kept for"
            f" {format_duration(settings.run_retention)}, and their artifacts for"
            f" {format_duration(settings.artifacts_kept)}."
        )


async def _set_up(settings: Settings, connection: Connection) -> NamespaceSetup:
    client = await connect(settings, connection=connection, lazy=True, identity="callboard-setup-namespace")
    has_echoed = False

    def tell(state: RetryCallState) -> None:
        nonlocal has_echoed
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, Unavailable) and not has_echoed:
            typer.echo(f"{error.message} Retrying for {format_duration(_RETRY_TIMEOUT)} …", err=True)
            has_echoed = True

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(Unavailable),
        wait=wait_fixed(0.5),
        stop=stop_after_delay(_RETRY_TIMEOUT),
        before_sleep=tell,
        reraise=True,
    )
    return await retrying(set_up_namespace, client, Retention.from_settings(settings))
