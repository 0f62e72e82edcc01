from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.repository import REPOSITORY


def demo(temporary: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    temporary.mkdir()
    return subprocess.run(
        [sys.executable, "-m", "examples.demo"],
        cwd=REPOSITORY,
        env=os.environ | {"TMPDIR": str(temporary)} | environment,
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_it_runs_one_run_prints_its_result_and_leaves_nothing(tmp_path: Path) -> None:
    # What is set for an installation on this machine must not be touched.
    elsewhere = tmp_path / "installation"
    done = demo(tmp_path / "tmp", CALLBOARD_ARTIFACTS=str(elsewhere), CALLBOARD_API_KEYS="not-for-a-demo")
    assert done.returncode == 0, done.stderr
    assert '"products": [' in done.stdout
    assert "completed in" in done.stdout
    assert "where its signature was verified" in done.stdout
    assert "it was made anew, once, before the Attempt" in done.stdout
    assert "Where to look next" in done.stdout
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not elsewhere.exists()


def test_a_stack_that_does_not_come_up_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    done = demo(tmp_path / "tmp", CALLBOARD_CHROMIUM=str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert "CALLBOARD_CHROMIUM names" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "tmp").iterdir()) == []
