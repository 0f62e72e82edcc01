"""Checks that Temporal can be reached, that its namespace is set up, and that workers poll its task queues."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client

from callboard.cli.doctor.findings import Finding, failed, ok, warning
from callboard.schemas.errors import ConfigurationError, Unavailable
from callboard.schemas.workflow import names
from callboard.settings import Settings
from callboard.temporal.client import connect
from callboard.temporal.connection_config import Connection, find_connection
from callboard.temporal.durations import format_duration
from callboard.temporal.namespace import NamespaceState, inspect_namespace
from callboard.temporal.pollers import list_pollers
from callboard.temporal.rpc_errors import RPC_TIMEOUT, translate_operator_errors

_RUN_SETUP = "Run `callboard setup-namespace`."
_START_TEMPORAL = (
    "Start Temporal (`docker compose up` starts everything; `callboard dev` brings its own), or set"
    " CALLBOARD_TEMPORAL_ADDRESS."
)
_CERTIFICATE_WARNING = timedelta(days=30)
"""Time before the end of the client certificate at which the doctor begins to warn."""
_FIXES = {
    Unavailable: _START_TEMPORAL,
    ConfigurationError: "Correct the address of Temporal, or its TLS and keys (docs/temporal-cloud.md).",
}


_CONSEQUENCES = {
    names.RUNS_QUEUE: "no Run starts",
    names.CALLBOARD_QUEUE: "no AuthSession or Job goes on",
    names.DELIVERIES_QUEUE: "no result is delivered",
    names.FLEET_QUEUE: "no worker gets Machines",
}
"""Task queues, and the consequence if no worker serves them. Workers of every role serve the last one."""


async def check_temporal(settings: Settings) -> tuple[list[Finding], Client | None]:
    """Check Temporal as far as it can be reached; return a client, too, if there is a namespace for further checks."""
    try:
        connection = find_connection(settings)
    except ConfigurationError as error:
        fix = "Correct the variables TEMPORAL_*, or the file of profiles (docs/temporal-cloud.md)."
        return [failed("Temporal", error.message, fix)], None
    try:
        client = await connect(
            settings, connection=connection, lazy=True, identity="callboard-doctor", retry_timeout=timedelta(seconds=3)
        )
    except ConfigurationError as error:  # of encrypted payloads
        return [failed("Temporal", error.message, "Correct these settings for all that use this namespace.")], None
    try:
        with translate_operator_errors(client, "describe itself"):
            system = await client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=RPC_TIMEOUT)
    except (Unavailable, ConfigurationError) as error:
        return [failed("Temporal", error.message, _FIXES[type(error)])], None
    reached = _check_connection(connection, system.server_version)
    try:
        found = await inspect_namespace(client)
    except (Unavailable, ConfigurationError) as error:
        fix = (
            "Check the permissions of this client in Temporal, and the namespace (CALLBOARD_TEMPORAL_NAMESPACE, or"
            " TEMPORAL_NAMESPACE). In Temporal Cloud it is NAME.ACCOUNT."
        )
        return [reached, failed("Namespace", error.message, fix)], None
    if found is None:
        missing = f"There is no namespace {connection.namespace!r}."
        fix = f"{_RUN_SETUP} Or set CALLBOARD_TEMPORAL_NAMESPACE to an existing namespace."
        return [reached, failed("Namespace", missing, fix)], None
    set_up = [_check_namespace(settings, connection, found), _check_search_attributes(found), _check_sweeps(found)]
    return [reached, *set_up], client


def _check_connection(connection: Connection, version: str) -> Finding:
    """Say how Temporal is connected to."""
    words = f"{version} at {connection.address}, {connection.kind}"
    if connection.tls is None and connection.leaves_this_host:
        secrets = "Runs" if connection.api_key is None else "Runs and the API key"
        return warning(
            "Temporal",
            f"{words}: {secrets} are sent in clear to another host.",
            "Keep it in a private network, or let Temporal use TLS and set TEMPORAL_TLS=true (docs/temporal-cloud.md).",
        )
    ends = connection.certificate_ends
    if ends is not None and ends - datetime.now(UTC) < _CERTIFICATE_WARNING:
        return warning(
            "Temporal",
            f"{words}, which ends on {ends:%Y-%m-%d %H:%M} UTC.",
            "Replace the client certificate (TEMPORAL_TLS_CLIENT_CERT_PATH), and restart api and workers.",
        )
    return ok("Temporal", words)


def _check_namespace(settings: Settings, connection: Connection, found: NamespaceState) -> Finding:
    words = f"{connection.namespace}: Runs are kept for {format_duration(found.retention)} after they end"
    if "run_retention" in settings.model_fields_set and settings.run_retention != found.retention:
        return warning(
            "Namespace",
            f"{words}, but CALLBOARD_RUN_RETENTION is {format_duration(settings.run_retention)}.",
            _RUN_SETUP,
        )
    return ok("Namespace", words)


def _check_search_attributes(found: NamespaceState) -> Finding:
    check = "Search attributes"
    if found.mistyped_attributes:
        listed = ", ".join(f"{name} ({kind})" for name, kind in found.mistyped_attributes.items())
        fix = (
            "Set CALLBOARD_TEMPORAL_NAMESPACE to a namespace that only Callboard uses, or remove them with `temporal"
            " operator search-attribute remove`, and run `callboard setup-namespace`."
        )
        return failed(check, f"Of a type that Callboard cannot use: {listed}.", fix)
    if found.missing_attributes:
        return failed(check, f"Missing: {', '.join(found.missing_attributes)}.", _RUN_SETUP)
    return ok(check, f"All {len(names.SEARCH_ATTRIBUTES)} search attributes exist")


def _check_sweeps(found: NamespaceState) -> Finding:
    sweep = found.sweep
    if sweep is None:
        return warning(
            "Sweeps", f"There is no Schedule {names.SWEEP_SCHEDULE}: artifacts are never removed.", _RUN_SETUP
        )
    if sweep.artifact_retention is None:
        return warning("Sweeps", f"The Schedule {names.SWEEP_SCHEDULE} starts another workflow.", _RUN_SETUP)
    kept = f"Artifacts are removed {format_duration(sweep.artifact_retention)} after the end of their Run"
    if sweep.paused:
        fix = f"Resume the Schedule {names.SWEEP_SCHEDULE} in Temporal's Web UI, unless this is intended."
        return warning("Sweeps", "The Schedule is paused: artifacts are not removed.", fix)
    if sweep.artifact_retention < found.retention:
        return warning("Sweeps", f"{kept}, which is before the Run itself is removed.", _RUN_SETUP)
    return ok("Sweeps", kept)


async def check_workers(client: Client) -> Finding:
    """Check for workers that sequence Runs, deliver results and lease Machines."""
    try:
        serving = {queue: await list_pollers(client, queue) for queue in _CONSEQUENCES}
    except (Unavailable, ConfigurationError) as error:
        return failed("Workers", error.message, "Try again; if the error stays, look at Temporal's log.")
    idle = [
        f"no worker polls the task queue {queue}, so {_CONSEQUENCES[queue]}"
        for queue, found in serving.items()
        if not found
    ]
    if idle:
        found = "; ".join(idle)
        fix = "Start `callboard worker` with CALLBOARD_ROLE set to all or control."
        return failed("Workers", f"{found[0].upper()}{found[1:]}.", fix)
    number = len(set[str]().union(*serving.values()))
    *queues, last = _CONSEQUENCES
    return ok(
        "Workers", f"{number} worker{'' if number == 1 else 's'} on the task queues {', '.join(queues)} and {last}"
    )
