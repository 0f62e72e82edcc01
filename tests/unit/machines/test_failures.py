"""Which frames of a stack are shown."""

from __future__ import annotations

from pathlib import Path
from traceback import StackSummary

from callboard_runtime.failures import shown


def test_packages_in_the_project_s_own_environment_are_no_code_of_its_own(tmp_path: Path) -> None:
    packages = f"{tmp_path}/.venv/lib/python3.13/site-packages"
    frames = [
        (f"{packages}/playwright/first.py", 1, "started", ""),
        (f"{tmp_path}/api/list.py", 2, "automation", ""),
        (f"{packages}/playwright/second.py", 3, "goto", ""),
    ]
    assert shown(StackSummary.from_list(frames), tmp_path) == '  File "api/list.py", line 2, in automation\n'
