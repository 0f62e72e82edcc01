"""Which files user code may have Playwright's driver read or write."""

from __future__ import annotations

from pathlib import Path

from machines.runner.file_guard import refusal


def test_a_file_that_is_dropped_on_a_page_is_one_of_the_attempts(tmp_path: Path) -> None:
    own, other = str(tmp_path / "own.txt"), "/etc/passwd"
    assert refusal("drop", {"selector": "p", "localPaths": [own]}, str(tmp_path)) is None
    assert other in (refusal("drop", {"selector": "p", "localPaths": [own, other]}, str(tmp_path)) or "")
