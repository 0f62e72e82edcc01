"""Which Runs a sink is sent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.delivery_inputs import sealed, webhook


@pytest.mark.parametrize(
    ("options", "completed", "failed"),
    [
        ({}, True, True),
        ({"skipOnFail": True}, True, False),
        ({"apisToSend": ["another", "list"]}, True, True),
        ({"apisToSend": ["another"]}, False, False),
        ({"apisToSend": []}, False, False),
    ],
)
def test_a_sink_is_sent_what_it_wants(options: dict[str, Any], completed: bool, failed: bool) -> None:
    sink = sealed(webhook("https://hook.example", **options), "shop", "run-1")
    assert (sink.delivers("list", failed=False), sink.delivers("list", failed=True)) == (completed, failed)
