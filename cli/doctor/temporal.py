"""Checks that Temporal can be reached and that its namespace is set up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client

from cli.doctor.findings import Finding, failed, ok, skipped, warning
from schemas.errors import ConfigurationError, Unavailable
from schemas.workflow import names
from settings import Settings
from temporal.client import connect
from temporal.durations import format_duration
from temporal.namespace import NamespaceState, inspect_namespace
from temporal.rpc_errors import RPC_TIMEOUT, translate_operator_errors

_RUN_SETUP = "Run `callboard setup-namespace`."
_START_TEMPORAL = (
    "Start Temporal (`docker compose up` starts everything; `callboard dev` brings its own), or set"
    " CALLBOARD_TEMPORAL_ADDRESS."
)
_DEPENDENT_CHECKS = ("Namespace", "Search attributes", "Sweeps")


@dataclass(frozen=True)
class TemporalFindings:
    """The findings about Temporal, and a client if there is a namespace for further checks."""

    findings: list[Finding]
    client: Client | None = None


async def check_temporal(settings: Settings) -> TemporalFindings:
    """Check Temporal as far as it can be reached."""
    client = await connect(settings, lazy=True, identity="callboard-doctor", retry_timeout=timedelta(seconds=3))
    try:
        with translate_operator_errors(client, "describe itself"):
            system = await client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=RPC_TIMEOUT)
    except Unavailable:
        first = failed("Temporal", f"Temporal cannot be reached at {settings.temporal_address}.", _START_TEMPORAL)
        return TemporalFindings(
            [first, *(skipped(check, "Temporal cannot be reached.") for check in _DEPENDENT_CHECKS)]
        )
    except ConfigurationError as error:
        first = failed("Temporal", error.message, "Set CALLBOARD_TEMPORAL_ADDRESS to the address of a Temporal server.")
        return TemporalFindings(
            [first, *(skipped(check, "Temporal cannot be reached.") for check in _DEPENDENT_CHECKS)]
        )
    reached = ok("Temporal", f"{system.server_version} at {settings.temporal_address}")
    try:
        found = await inspect_namespace(client)
    except (Unavailable, ConfigurationError) as error:
        fix = "Check the permissions of this client in Temporal, and CALLBOARD_TEMPORAL_NAMESPACE."
        return TemporalFindings([reached, failed("Namespace", error.message, fix)])
    if found is None:
        missing = f"There is no namespace {settings.temporal_namespace!r}."
        fix = f"{_RUN_SETUP} Or set CALLBOARD_TEMPORAL_NAMESPACE to an existing namespace."
        first = failed("Namespace", missing, fix)
        return TemporalFindings(
            [reached, first, *(skipped(check, "There is no namespace.") for check in _DEPENDENT_CHECKS[1:])]
        )
    return TemporalFindings(
        [reached, _check_namespace(settings, found), _check_search_attributes(found), _check_sweeps(found)], client
    )


def _check_namespace(settings: Settings, found: NamespaceState) -> Finding:
    words = f"{settings.temporal_namespace}: Runs are kept for {format_duration(found.retention)} after they end"
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
        return failed(check, f"Not of type Keyword: {listed}.", fix)
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
