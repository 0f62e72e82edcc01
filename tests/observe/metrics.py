"""Which metrics there are, with their labels: those of docs/metrics.md, and those of others that `observe/` uses."""

from __future__ import annotations

import re

from tests.support.repository import REPOSITORY

_PAGE = REPOSITORY / "docs" / "metrics.md"
_ROW = re.compile(r"^\| `(callboard_\w+)` \| (counter|gauge|histogram) \| ((?:`\w+`(?:, )?)+) \|", re.MULTILINE)

# Until docs/metrics.md is there, the table that both were written from.
_DESIGNED = {
    "callboard_build_info": ("gauge", "version role"),
    "callboard_runs_accepted_total": ("counter", "project"),
    "callboard_runs_ended_total": ("counter", "project status reason"),
    "callboard_run_duration_seconds": ("histogram", "project status"),
    "callboard_run_wait_seconds": ("histogram", "project"),
    "callboard_runs_waiting": ("gauge", "project"),
    "callboard_attempts_ended_total": ("counter", "project status"),
    "callboard_attempt_duration_seconds": ("histogram", "project status"),
    "callboard_machines": ("gauge", "project state"),
    "callboard_machines_started_total": ("counter", "project"),
    "callboard_machines_recycled_total": ("counter", "project cause"),
    "callboard_machines_memory_bytes": ("gauge", "project"),
    "callboard_deliveries_ended_total": ("counter", "project sink status"),
    "callboard_delivery_tries_total": ("counter", "sink outcome"),
    "callboard_auth_session_checks_total": ("counter", "project outcome"),
    "callboard_auth_session_creates_total": ("counter", "project outcome"),
    "callboard_job_runs_ended_total": ("counter", "project status"),
    "callboard_http_requests_total": ("counter", "method route status"),
    "callboard_http_request_duration_seconds": ("histogram", "method route status"),
}

_OTHERS = {
    "temporal_request_failure_total": ("counter", "operation status_code"),
    "temporal_request_latency_seconds": ("histogram", "operation"),
    "temporal_workflow_task_schedule_to_start_latency_seconds": ("histogram", "task_queue"),
    "temporal_workflow_task_execution_failed_total": ("counter", "task_queue"),
    "up": ("gauge", ""),
    "ALERTS": ("gauge", "alertname alertstate"),
}
_OF_PROMETHEUS = {"job", "instance"}
"""Labels that Prometheus gives to everything."""


def known() -> dict[str, set[str]]:
    """Return every series that can be asked for, with its labels; a histogram is three of them."""
    table = _DESIGNED
    if _PAGE.is_file():
        rows = _ROW.findall(_PAGE.read_text("utf-8"))
        table = {name: (kind, " ".join(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    found: dict[str, set[str]] = {}
    for name, (kind, labels) in {**table, **_OTHERS}.items():
        has = set(labels.split()) | _OF_PROMETHEUS
        if kind == "histogram":
            found |= {f"{name}_bucket": has | {"le"}, f"{name}_sum": has, f"{name}_count": has}
        else:
            found[name] = has
    return found
