"""Printing Runs, Attempts and Deliveries for people."""

from __future__ import annotations

import json
from typing import Any

from callboard.cli.output import (
    format_elapsed,
    format_short_time,
    format_time,
    print_fields,
    print_heading,
    print_json,
    print_table,
    print_text,
)


def format_cause(answer: dict[str, Any]) -> str:
    """Return the code and message of why something failed or was canceled; empty if neither happened."""
    cause: dict[str, Any] | None = answer.get("error") or answer.get("reason")
    return "" if cause is None else f"{cause.get('code') or cause.get('type')}: {cause['message']}"


def _format_trace(trace: dict[str, Any] | None) -> str | None:
    """Return where an OpenTelemetry trace is shown, or its id; None if there is none."""
    return None if trace is None else trace["url"] or trace["traceId"]


def _format_actor(actor: dict[str, Any] | None) -> str | None:
    """Return the name and id of a key; None if it was none."""
    return None if actor is None else f"{actor['name']} ({actor['id']})"


def print_run(run: dict[str, Any]) -> None:
    """Print all that is known of a Run."""
    print_fields(
        {
            "Run": run["runId"],
            "Status": run["status"],
            "Reason": format_cause(run),
            "Waiting for": run["waiting"] and format_waiting(run["waiting"]),
            "Type": run["type"],
            "Project": f"{run['project']}, version {run['version']}",
            "API": run["api"],
            "AuthSession": run["authSessionId"],
            "Tags": ", ".join(run["tags"]),
            "Created": format_time(run["createdAt"]),
            "Started": format_time(run["startedAt"]),
            "Ended": format_time(run["endedAt"]),
            "Duration": format_elapsed(run["startedAt"], run["endedAt"]),
            "Parent Run": run["parentRunId"],
            "Rerun of": run["rerunOf"],
            "Started by": _format_actor(run.get("startedBy")),
            "Canceled by": _format_actor(run.get("canceledBy")),
            "Reruns": ", ".join(run["reruns"]),
            "Temporal UI": run["temporal"]["url"],
            "OpenTelemetry trace": _format_trace(run.get("openTelemetry")),
        }
    )
    print_heading("Input")
    print_json(run["input"])
    if run["attempts"]:
        print_heading("Attempts")
        print_table(
            ("NUMBER", "KIND", "STATUS", "STARTED", "DURATION", "MACHINE", "REASON"),
            [_attempt_row(attempt) for attempt in run["attempts"]],
        )
    if run["validates"]:
        print_heading("Validates")
        rows = [(line["runId"], line["attempt"], line["status"], line["createRunId"]) for line in run["validates"]]
        print_table(("RUN", "ATTEMPT", "STATUS", "CREATE"), rows)
    if run["deliveries"]:
        print_heading("Deliveries")
        print_deliveries(run["deliveries"])
    if "result" in run:
        print_heading("Result")
        print_json(run["result"])
    if "extendedPayloads" in run:
        print_heading("Extended payloads")
        print_json(run["extendedPayloads"])


def print_attempt(attempt: dict[str, Any]) -> None:
    """Print an Attempt."""
    usage: dict[str, Any] = attempt["usage"] or {}
    print_fields(
        {
            "Attempt": attempt["number"],
            "Kind": attempt["kind"],
            "Status": attempt["status"],
            "Reason": format_cause(attempt),
            "Queued": format_time(attempt["queuedAt"]),
            "Started": format_time(attempt["startedAt"]),
            "Ended": format_time(attempt["endedAt"]),
            "Duration": format_elapsed(attempt["startedAt"], attempt["endedAt"]),
            "Machine": attempt["machine"],
            "Worker": attempt["worker"],
            "Browser": attempt["browserVersion"],
            "Memory": _format_bytes(usage.get("peakMemory")),
            "CPU": None if usage.get("cpuSeconds") is None else f"{usage['cpuSeconds']:.2f} s",
            "Network in": _format_bytes(usage.get("bytesReceived")),
            "Log": _format_bytes(usage.get("logSize")) or (attempt["log"] and "yes"),
            "Trace": _format_bytes(usage.get("traceSize")) or (attempt["trace"] and "yes"),
            "Screenshot": attempt["screenshot"] and "yes",
            "Files": ", ".join(file["name"] for file in attempt["files"]),
            "Missing": "; ".join(f"{what}: {why}" for what, why in attempt["missing"].items()),
            "Taken over": "; ".join(map(_format_takeover, attempt["takeovers"])),
            "Variables": ", ".join(map(_format_variable, attempt["envVars"] or ())),
        }
    )
    if attempt["attributes"]:
        print_heading("Attributes")
        print_json(attempt["attributes"])
    error: dict[str, Any] = attempt["error"] or {}
    details: dict[str, Any] = error.get("details") or {}
    for name, value in details.items():
        print_heading(name.capitalize())
        print_text(value) if isinstance(value, str) else print_json(value)


def _format_takeover(takeover: dict[str, Any]) -> str:
    """Format a time in which a person had the browser."""
    return f"by {takeover['by']}, {format_time(takeover['from'])} to {format_time(takeover['until'])}"


def _format_variable(variable: dict[str, Any]) -> str:
    """Format an environment variable of an Attempt: its name, whose it is, and whether it is a secret."""
    return f"{variable['name']} ({variable['source']}{', secret' if variable['secret'] else ''})"


def print_job_run(answer: dict[str, Any]) -> None:
    """Print all that is known of a JobRun, except for its results."""
    job_run = answer["jobRun"]
    print_fields(
        {
            "JobRun": job_run["id"],
            "Status": job_run["status"],
            "Reason": format_cause(job_run),
            "Job": job_run["job_id"],
            "Type": job_run["type"],
            "Rerun of": job_run.get("rerun_of"),
            "Runs": format_run_counts(job_run),
            "Started": format_time(job_run["start_time"]),
            "Ended": format_time(job_run["end_time"]),
            "Duration": format_elapsed(job_run["start_time"], job_run["end_time"]),
            "Version": job_run.get("version"),
        }
    )
    print_heading("Configuration")
    print_json(job_run["job_configuration_snapshot"])


def format_run_counts(job_run: dict[str, Any]) -> str:
    """Return how many of the Runs of a JobRun have ended, and how."""
    counts = [job_run["payloads"], job_run["successful_runs"], job_run["failed_runs"]]
    if None in counts:
        return "No Run has been started"
    total, completed, failed = counts
    if completed + failed == total:
        return f"{completed} of {total} Runs have completed, {failed} failed"
    return f"{completed + failed} of {total} Runs have ended: {completed} completed, {failed} failed"


def print_deliveries(deliveries: list[dict[str, Any]]) -> None:
    """Print Deliveries, with the outcome of their last try."""
    rows = [
        (
            each["id"],
            each["status"],
            each["sink"]["type"],
            _format_sink_target(each["sink"]),
            len(each["tries"]),
            _format_last_try(each),
        )
        for each in deliveries
    ]
    print_table(("DELIVERY", "STATUS", "SINK", "TARGET", "TRIES", "LAST RESULT"), rows)


def _attempt_row(attempt: dict[str, Any]) -> tuple[Any, ...]:
    return (
        attempt["number"],
        attempt["kind"],
        attempt["status"],
        format_short_time(attempt["startedAt"]),
        format_elapsed(attempt["startedAt"], attempt["endedAt"]),
        attempt["machine"],
        format_cause(attempt),
    )


def format_waiting(waiting: dict[str, Any]) -> str:
    """Return what a Run waits for."""
    if "handoff" in waiting:
        return f"a person, until {format_time(waiting['until'])}: callboard handoffs answer {waiting['handoff']}"
    if "until" in waiting:
        return f"its next Attempt, until {format_time(waiting['until'])}"
    if waiting["paused"]:
        return "somebody to unpause it in Temporal"
    if waiting["preparing"]:
        return "a worker that prepares its version and environment"
    if waiting["lease"] is not None:
        lease = waiting["lease"]
        place = "" if lease["place"] is None else f"; place {lease['place']} of {lease['waiting']}"
        return f"its turn to use the AuthSession, which Run {lease['heldBy']} uses{place}"
    machines = (
        ""
        if None in (waiting["machines"], waiting["machinesBusy"])
        else f"; {waiting['machinesBusy']} of {waiting['machines']} Machines are busy"
    )
    return f"a Machine; {waiting['ahead']} Runs ahead{machines}"


def _format_sink_target(sink: dict[str, Any]) -> str:
    return sink.get("url") or f"{sink.get('bucket')}/{sink.get('prefix') or ''}"


def _format_last_try(delivery: dict[str, Any]) -> str:
    error = delivery.get("error")
    if error is not None:
        return f"{error['type']}: {error['message']}"
    if not delivery["tries"]:
        return ""
    last = delivery["tries"][-1]
    if last.get("error") is not None:
        return f"{last['error']['type']}: {last['error']['message']}"
    return json.dumps(last.get("statusCode"))


def _format_bytes(size: int | None) -> str | None:
    if size is None:
        return None
    return f"{size / 1_000_000:.1f} MB" if size >= 100_000 else f"{size / 1000:.1f} kB"
