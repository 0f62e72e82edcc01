"""The timeline of a Run, drawn to scale: its time in the queue, starts of Machines, Validates, Attempts, Deliveries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

CHART_WIDTH = 1000
"""Width of the whole timeline, in units of the drawing."""
_MIN_BAR_WIDTH = 4


@dataclass(frozen=True)
class Span:
    """Something in a Run that has a start and an end."""

    label: str
    kind: str
    """Status that gives the span its colour, or `queued` or `preparing`."""
    begin: datetime
    end: datetime | None
    """Time of the end; None if it still goes on."""


@dataclass(frozen=True)
class Bar:
    """A span with its place in the drawing."""

    label: str
    kind: str
    x: float
    width: float
    duration: timedelta
    offset: timedelta
    """Time from the start of the whole timeline to that of this span."""
    is_running: bool


def layout_bars(spans: Iterable[Span], now: datetime) -> list[Bar]:
    """Return the bars of the spans, on one scale and in the same order."""
    all_spans = list(spans)
    if not all_spans:
        return []
    first = min(span.begin for span in all_spans)
    last = max(span.end or now for span in all_spans)
    total = max((last - first).total_seconds(), 0.001)
    bars: list[Bar] = []
    for span in all_spans:
        offset, duration = span.begin - first, max((span.end or now) - span.begin, timedelta())
        width = max(duration.total_seconds() / total * CHART_WIDTH, _MIN_BAR_WIDTH)
        x = min(offset.total_seconds() / total * CHART_WIDTH, CHART_WIDTH - width)
        bars.append(Bar(span.label, span.kind, round(x, 1), round(width, 1), duration, offset, span.end is None))
    return bars


def run_spans(run: dict[str, Any], validates: Iterable[Span]) -> list[Span]:
    """Return the spans of a Run, from its JSON; Validates are Runs of their own, so their spans are passed in."""
    spans: list[Span] = []
    started_at, ended = _parse_time(run["startedAt"]), _parse_time(run["endedAt"])
    attempts: list[Span] = []
    for each in run["attempts"]:
        preparing, begin = _parse_time(each["preparingAt"]), _parse_time(each["startedAt"])
        if preparing and (begin is None or preparing < begin):  # else it has ended before its Machine was there
            attempts.append(Span(f"Machine for Attempt {each['number']}", "preparing", preparing, begin))
        if begin:
            attempts.append(Span(f"Attempt {each['number']}", each["status"], begin, _parse_time(each["endedAt"])))
    if created := _parse_time(run["createdAt"]):
        ends = [started_at, *(span.begin for span in attempts[:1])]
        spans.append(Span("Queued", "queued", created, min(filter(None, ends), default=ended)))
    spans += sorted([*validates, *attempts], key=lambda span: span.begin)
    for delivery in run["deliveries"]:
        for number, each in enumerate(delivery["tries"], 1):
            at = datetime.fromisoformat(each["at"])
            succeeded = "error" not in each and 200 <= (each.get("statusCode") or 0) < 300
            end = at + timedelta(seconds=each.get("latency") or 0)
            spans.append(Span(f"Delivery, try {number}", "completed" if succeeded else "failed", at, end))
    return spans


def _parse_time(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)
