"""The timeline of a Run, drawn to scale: its time in the queue, its Validates, its Attempts and its Deliveries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

WIDTH = 1000
"""Width of the whole timeline, in units of the drawing."""
_NARROWEST = 4


@dataclass(frozen=True)
class Span:
    """Something in a Run that has a start and an end."""

    label: str
    kind: str
    """Status that gives the span its colour, or `waited`."""
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
    took: timedelta
    after: timedelta
    """Time from the start of the whole timeline to that of this span."""
    goes_on: bool


def bars_of(spans: Iterable[Span], now: datetime) -> list[Bar]:
    """Return the bars of the spans, on one scale and in the same order."""
    placed = list(spans)
    if not placed:
        return []
    first = min(span.begin for span in placed)
    last = max(span.end or now for span in placed)
    whole = max((last - first).total_seconds(), 0.001)
    bars: list[Bar] = []
    for span in placed:
        after, took = span.begin - first, max((span.end or now) - span.begin, timedelta())
        width = max(took.total_seconds() / whole * WIDTH, _NARROWEST)
        x = min(after.total_seconds() / whole * WIDTH, WIDTH - width)
        bars.append(Bar(span.label, span.kind, round(x, 1), round(width, 1), took, after, span.end is None))
    return bars


def spans_of(run: dict[str, Any], validates: Iterable[Span]) -> list[Span]:
    """Return the spans of a Run, from its JSON; Validates are Runs of their own, so their spans are passed in."""
    spans: list[Span] = []
    begun, ended = _at(run["startedAt"]), _at(run["endedAt"])
    if created := _at(run["createdAt"]):
        spans.append(Span("Queued", "waited", created, begun or ended))
    tries = [
        Span(f"Attempt {each['number']}", each["status"], began, _at(each["endedAt"]))
        for each in run["attempts"]
        if (began := _at(each["startedAt"] or each["queuedAt"]))
    ]
    spans += sorted([*validates, *tries], key=lambda span: span.begin)
    for delivery in run["deliveries"]:
        for number, each in enumerate(delivery["tries"], 1):
            at = datetime.fromisoformat(each["at"])
            good = "error" not in each and 200 <= (each.get("statusCode") or 0) < 300
            end = at + timedelta(seconds=each.get("latency") or 0)
            spans.append(Span(f"Delivery, try {number}", "completed" if good else "failed", at, end))
    return spans


def _at(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)
