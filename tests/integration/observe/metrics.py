"""Which metrics there are, with their labels: Callboard's own, and others that `hosting/observe/` uses."""

from __future__ import annotations

from callboard.telemetry.metrics import INSTRUMENTS

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
    table = {each.exported_name: (each.kind, " ".join(each.labels)) for each in INSTRUMENTS}
    found: dict[str, set[str]] = {}
    for name, (kind, labels) in {**table, **_OTHERS}.items():
        has = set(labels.split()) | _OF_PROMETHEUS
        if kind == "histogram":
            found |= {f"{name}_bucket": has | {"le"}, f"{name}_sum": has, f"{name}_count": has}
        else:
            found[name] = has
    return found
