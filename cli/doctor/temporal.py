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
from temporal.durations import said
from temporal.namespace import Namespace, inspect_namespace
from temporal.rpc_errors import RPC_TIMEOUT, translate_operator_errors

_SET_UP = "Run `callboard setup-namespace`."
_START = (
    "Start it (`docker compose up` brings up all of it; `callboard dev` has one of its own), or set"
    " CALLBOARD_TEMPORAL_ADDRESS."
)
_LATER = ("Namespace", "Search attributes", "Sweeps")


@dataclass(frozen=True)
class Temporal:
    """The findings about Temporal, and a client if there is a namespace for further checks."""

    findings: list[Finding]
    client: Client | None = None


async def temporal(settings: Settings) -> Temporal:
    """Check Temporal as far as it can be reached."""
    client = await connect(settings, lazy=True, identity="callboard-doctor", patience=timedelta(seconds=3))
    try:
        with translate_operator_errors(client, "say what it is"):
            system = await client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=RPC_TIMEOUT)
    except Unavailable:
        first = failed("Temporal", f"It cannot be reached at {settings.temporal_address}.", _START)
        return Temporal([first, *(skipped(check, "Temporal cannot be reached.") for check in _LATER)])
    except ConfigurationError as error:
        first = failed("Temporal", error.message, "Set CALLBOARD_TEMPORAL_ADDRESS to that of a Temporal server.")
        return Temporal([first, *(skipped(check, "Temporal cannot be reached.") for check in _LATER)])
    reached = ok("Temporal", f"{system.server_version} at {settings.temporal_address}")
    try:
        found = await inspect_namespace(client)
    except (Unavailable, ConfigurationError) as error:
        mend = "Check what Temporal allows whoever comes from here, and CALLBOARD_TEMPORAL_NAMESPACE."
        return Temporal([reached, failed("Namespace", error.message, mend)])
    if found is None:
        missing = f"There is no namespace {settings.temporal_namespace!r}."
        mend = f"{_SET_UP} Or set CALLBOARD_TEMPORAL_NAMESPACE to the one that is meant."
        first = failed("Namespace", missing, mend)
        return Temporal([reached, first, *(skipped(check, "There is no namespace.") for check in _LATER[1:])])
    return Temporal([reached, _namespace(settings, found), _search_attributes(found), _sweeps(found)], client)


def _namespace(settings: Settings, found: Namespace) -> Finding:
    words = f"{settings.temporal_namespace}: Runs are known for {said(found.retention)} after their end"
    if "run_retention" in settings.model_fields_set and settings.run_retention != found.retention:
        return warning("Namespace", f"{words}, CALLBOARD_RUN_RETENTION says {said(settings.run_retention)}.", _SET_UP)
    return ok("Namespace", words)


def _search_attributes(found: Namespace) -> Finding:
    check = "Search attributes"
    if found.wrong:
        listed = ", ".join(f"{name} ({kind})" for name, kind in found.wrong.items())
        mend = (
            "Set CALLBOARD_TEMPORAL_NAMESPACE to a namespace that is Callboard's alone, or remove them with `temporal"
            " operator search-attribute remove`, and run `callboard setup-namespace`."
        )
        return failed(check, f"Not of type Keyword: {listed}.", mend)
    if found.missing:
        return failed(check, f"Missing: {', '.join(found.missing)}.", _SET_UP)
    return ok(check, f"All {len(names.SEARCH_ATTRIBUTES)} are there")


def _sweeps(found: Namespace) -> Finding:
    sweep = found.sweep
    if sweep is None:
        return warning("Sweeps", f"There is no Schedule {names.SWEEP_SCHEDULE}: artifacts stay for ever.", _SET_UP)
    if sweep.artifacts is None:
        return warning("Sweeps", f"The Schedule {names.SWEEP_SCHEDULE} starts something else.", _SET_UP)
    kept = f"Artifacts are removed {said(sweep.artifacts)} after the end of their Run"
    if sweep.paused:
        mend = f"Resume the Schedule {names.SWEEP_SCHEDULE} in Temporal's Web UI, unless that is what you want."
        return warning("Sweeps", "They are paused: artifacts stay for ever.", mend)
    if sweep.artifacts < found.retention:
        return warning("Sweeps", f"{kept}, while it is still known.", _SET_UP)
    return ok("Sweeps", kept)
