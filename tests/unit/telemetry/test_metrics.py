"""Callboard's metrics as Prometheus reads them, by the real exporter; and the page that lists them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from callboard.dev import ports
from callboard.telemetry.metrics import INSTRUMENTS, Metrics
from callboard.telemetry.runtime import make_runtime
from tests.support.repository import REPOSITORY

A_SECOND = timedelta(seconds=1)
PAGE = (REPOSITORY / "docs" / "metrics.md").read_text()
EVENTS: dict[str, tuple[Any, ...]] = {
    "audit_entry_lost": (),
    "process_started": ({"version": "1", "role": "worker"},),
    "run_accepted": ("shop",),
    "run_ended": ("shop", {"status": "failed", "reason": "script-timeout", "duration": A_SECOND, "wait": A_SECOND}),
    "runs_waiting": ("shop", 3),
    "attempt_ended": ("shop", {"status": "failed", "duration": A_SECOND}),
    "machines": ("shop", {"leased": 3, "busy": 2, "warm": 1, "memory": 1_000_000}),
    "machine_started": ("shop",),
    "machine_recycled": ("shop", "idle"),
    "delivery_ended": ("shop", {"sink": "webhook", "status": "delivered"}),
    "delivery_tried": ({"sink": "s3", "outcome": "failed"},),
    "auth_session_checked": ("shop", "good"),
    "handoffs_open": ("shop", 1),
    "handoff_ended": ("shop", {"kind": "input", "status": "completed"}),
    "auth_session_created": ("shop", "created"),
    "job_run_ended": ("shop", "SUCCESS"),
    "request_ended": ({"method": "GET", "route": "/healthz", "status": "200", "duration": A_SECOND},),
}


def happen(counted: Metrics) -> None:
    """Have each event happen once."""
    for name, arguments in EVENTS.items():
        named = arguments[-1] if arguments and isinstance(arguments[-1], dict) else {}
        getattr(counted, name)(*[each for each in arguments if each is not named], **named)


def events_of(kind: type[Metrics]) -> set[str]:
    return {name for name, member in vars(kind).items() if isinstance(member, Callable) and not name.startswith("_")}


@pytest.fixture
async def families() -> dict[str, Metric]:
    """What a scrape tells after each event has happened once, by name."""
    address = f"127.0.0.1:{ports.choose_ports({'--port': 0})['--port']}"
    runtime = make_runtime(address)
    counted = Metrics(runtime.metric_meter)
    assert counted.is_on
    happen(counted)
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"http://{address}/metrics")
    assert answer.status_code == 200
    read = list(text_string_to_metric_families(answer.text))
    assert len({family.name for family in read}) == len(read), "a family comes twice"
    return {family.name: family for family in read}


async def test_the_exporter_tells_each_metric_as_the_table_has_it(families: dict[str, Metric]) -> None:
    assert set(EVENTS) == events_of(Metrics)
    told: dict[str, tuple[str, str, set[str]]] = {}
    for family in families.values():
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        told[name] = (family.type, family.documentation, labels)
    assert told == {each.exported_name: (each.kind, each.meaning, set(each.labels)) for each in INSTRUMENTS}
    for family in families.values():
        series = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples]
        assert len(set(series)) == len(series), f"{family.name} has a series twice"


async def test_what_happened_is_told(families: dict[str, Metric]) -> None:
    def value(name: str, family: str, **labels: str) -> float:
        (found,) = [
            sample.value for sample in families[family].samples if sample.name == name and sample.labels == labels
        ]
        return found

    ended = {"project": "shop", "status": "failed", "reason": "script-timeout"}
    assert value("callboard_runs_ended_total", "callboard_runs_ended", **ended) == 1
    assert value("callboard_runs_waiting", "callboard_runs_waiting", project="shop") == 3
    states = {
        state: value("callboard_machines", "callboard_machines", project="shop", state=state)
        for state in ("leased", "busy", "warm")
    }
    assert states == {"leased": 3, "busy": 2, "warm": 1}
    memory = "callboard_machines_memory_bytes"
    assert value(memory, memory, project="shop") == 1_000_000
    duration = "callboard_run_duration_seconds"
    of = {"project": "shop", "status": "failed"}
    assert value(f"{duration}_sum", duration, **of) == 1
    assert value(f"{duration}_bucket", duration, le="0.5", **of) == 0
    assert value(f"{duration}_bucket", duration, le="1", **of) == 1
    for each in INSTRUMENTS:
        if each.buckets:
            bounds = {float(sample.labels["le"]) for sample in families[each.name].samples if "le" in sample.labels}
            assert bounds == {*each.buckets, float("inf")}, each.name


def test_the_expressions_of_the_page_use_metrics_that_there_are() -> None:
    exported = {each.exported_name for each in INSTRUMENTS}
    exported |= {f"{each.name}_{part}" for each in INSTRUMENTS if each.buckets for part in ("bucket", "sum", "count")}
    used = {name for name in re.findall(r"\bcallboard_\w+\b", PAGE) if not name.endswith("_")}
    assert used == {name for name in used if name in exported}
