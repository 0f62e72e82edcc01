"""The JavaScript below `runtime/node/`, by its own tests, on the Node of Playwright's driver."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from callboard.machines.box import driver_program

TESTS = Path(__file__).parent.parent / "node"


@pytest.mark.parametrize("file", sorted(TESTS.glob("*.test.js")), ids=lambda file: file.name)
def test_the_tests_in_javascript_pass(file: Path) -> None:
    done = subprocess.run([driver_program(), "--test", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nℹ pass 0" not in done.stdout
