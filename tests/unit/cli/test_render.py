"""What a Run waits for, as people read it."""

from typing import Any

import pytest

from callboard.cli.polling import _describe_progress
from callboard.cli.render import format_time, format_waiting

UNTIL = "2026-11-24T10:00:00Z"
BUSY = {"ahead": 4, "machinesBusy": 2, "machines": 3, "paused": False, "preparing": False, "lease": None}


@pytest.mark.parametrize(
    ("waiting", "shown"),
    [
        (BUSY, "a Machine; 4 Runs ahead; 2 of 3 Machines are busy"),
        ({**BUSY, "machinesBusy": None}, "a Machine; 4 Runs ahead"),
        ({**BUSY, "paused": True}, "somebody to unpause it in Temporal"),
        ({**BUSY, "preparing": True}, "a worker that prepares its version and environment"),
        (
            {**BUSY, "lease": {"heldBy": "run-1", "waiting": 3, "place": 2}},
            "its turn to use the AuthSession, which Run run-1 uses; place 2 of 3",
        ),
        (
            {**BUSY, "lease": {"heldBy": "run-1", "waiting": 101, "place": None}},
            "its turn to use the AuthSession, which Run run-1 uses",
        ),
        ({"until": UNTIL}, f"its next Attempt, until {format_time(UNTIL)}"),
    ],
    ids=["busy", "unknown", "paused", "preparing", "login", "far-back", "between-attempts"],
)
def test_what_a_run_waits_for(waiting: dict[str, Any], shown: str):
    assert format_waiting(waiting) == shown
    told = _describe_progress({"status": "pending", "waiting": waiting, "attempts": []})
    assert told == f"is pending, and waits for {shown}"
    assert _describe_progress({"status": "started", "waiting": None, "attempts": []}) == "is started"
