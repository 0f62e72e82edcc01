"""What Runs of a JobRun leave for it."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from activities.jobs import piece
from callboard.schemas.workflow.base import JsonRef
from callboard.schemas.workflow.run import RunOutcome, RunStatus
from callboard.storage.folder import FolderStore


async def test_what_a_run_adds_is_read_in_a_thread_as_it_may_be_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def noted(**fields: Any) -> dict[str, Any]:
        threads.append(threading.current_thread())
        return fields

    monkeypatch.setattr(piece, "JobItem", noted)
    text = json.dumps([{"api": "list", "parameters": {"page": 2}}])
    outcome = RunOutcome(status=RunStatus.COMPLETED, extended_payloads=JsonRef(text=text, size=len(text)))
    added = await piece.added_items(outcome, "run-1", FolderStore(tmp_path))
    assert added == [{"api_name": "list", "parameters": {"page": 2}}]
    assert threading.main_thread() not in threads
