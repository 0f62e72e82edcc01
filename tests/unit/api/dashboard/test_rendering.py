from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dashboard.json_tree import TreeNode, build_tree
from api.dashboard.rendering import format_bytes
from api.runs.timeline import CHART_WIDTH, Span, layout_bars, run_spans

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_spans_are_drawn_to_scale():
    bars = layout_bars([Span("Queued", "queued", at(0), at(2)), Span("Attempt 1", "failed", at(2), at(10))], at(99))
    assert [(bar.x, bar.width) for bar in bars] == [(0, 200), (200, 800)]
    assert [bar.duration for bar in bars] == [timedelta(seconds=2), timedelta(seconds=8)]


def test_waiting_for_a_machine_is_told_from_starting_one():
    def time(seconds: float) -> str:
        return at(seconds).isoformat()

    times = {"queuedAt": time(0), "preparingAt": time(2), "startedAt": time(5), "endedAt": time(9)}
    warm = {"queuedAt": time(9), "preparingAt": None, "startedAt": time(10), "endedAt": time(12)}
    run = {"createdAt": time(0), "startedAt": time(5), "endedAt": time(12), "deliveries": []}
    attempts = [{"number": 1, "status": "failed", **times}, {"number": 2, "status": "completed", **warm}]
    starting = {**warm, "preparingAt": time(13), "startedAt": None, "endedAt": None}
    spans = run_spans({**run, "attempts": [*attempts, {"number": 3, "status": "started", **starting}]}, [])
    assert [(span.label, span.begin, span.end) for span in spans] == [
        ("Queued", at(0), at(2)),
        ("Machine for Attempt 1", at(2), at(5)),
        ("Attempt 1", at(5), at(9)),
        ("Attempt 2", at(10), at(12)),
        ("Machine for Attempt 3", at(13), None),
    ]


def test_what_goes_on_ends_now():
    (bar,) = layout_bars([Span("Attempt 1", "started", at(0), None)], at(4))
    assert (bar.is_running, bar.duration, bar.width) == (True, timedelta(seconds=4), CHART_WIDTH)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(-10, 1e6)), max_size=8))
def test_every_span_is_seen_and_none_leaves_the_picture(spans: list[tuple[float, float]]):
    bars = layout_bars([Span("", "failed", at(begin), at(begin + took)) for begin, took in spans], at(0))
    for bar in bars:
        assert bar.width >= 4
        assert bar.x >= 0
        assert bar.x + bar.width <= CHART_WIDTH + 0.2


def nodes(node: TreeNode) -> int:
    return 1 + sum(nodes(child) for child in node.children)


def test_a_value_is_a_tree_however_big_and_deep_it_is():
    deep: Any = "bottom"
    for _ in range(190):
        deep = {"down": deep}
    tree = build_tree({"deep": deep, "long": list(range(100_000)), "text": "x" * 1_000_000, "none": None})
    assert nodes(tree) < 2000
    assert tree.children[1].left_out > 90_000
    assert tree.left_out == 2
    small = build_tree({"a": [1, True, None, "é\n"]})
    assert [child.text for child in small.children[0].children] == ["1", "true", "null", '"é\\n"']


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (812, "812 B"),
        (4_140, "4.1 kB"),
        (99_960, "100 kB"),
        (412_000_000, "412 MB"),
        (2_500_000_000, "2.5 GB"),
    ],
)
def test_sizes_are_read_at_a_glance(size: int, text: str):
    assert format_bytes(size) == text
