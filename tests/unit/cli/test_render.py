"""What a Run waits for, as people read it."""

from __future__ import annotations

from typing import Any

import pytest

from cli.polling import _describe_progress
from cli.render import _format_waiting

BUSY = {"ahead": 4, "machinesBusy": 2, "machines": 3, "paused": False}


@pytest.mark.parametrize(
    ("waiting", "shown", "progress"),
    [
        (BUSY, "a Machine; 4 Runs ahead; 2 of 3 Machines are busy", "is pending: 4 Runs ahead, 2 of 3 Machines busy"),
        ({**BUSY, "paused": True}, "unpause in Temporal", "is pending (paused in Temporal)"),
        (None, None, "is started"),
    ],
    ids=["busy", "paused", "nothing"],
)
def test_what_a_run_waits_for(waiting: dict[str, Any] | None, shown: str | None, progress: str) -> None:
    assert _format_waiting(waiting) == shown
    assert _describe_progress({"status": "started", "waiting": waiting, "attempts": []}) == progress
