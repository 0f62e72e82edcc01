"""Playwright's driver and the browser do nothing for user code that it could not do itself."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from callboard.machines.runner import process_tree
from tests.system.attacks.installation import Installation

SECRET = "a secret of the host"


@pytest.fixture
def outside(installation: Installation) -> Iterator[Path]:
    """A folder of the host that everybody may write to, with a file that everybody may read."""
    with tempfile.TemporaryDirectory(prefix="outside-", dir=installation.folder) as made:
        folder = Path(made)
        folder.chmod(0o777)
        (folder / "secret.txt").write_text(SECRET)
        yield folder


async def test_the_driver_writes_reads_and_starts_nothing_outside(installation: Installation, outside: Path) -> None:
    told: dict[str, Any] = await installation.attack(
        "commands", {"secret": str(outside / "secret.txt"), "outside": str(outside)}
    )
    assert [path.name for path in outside.iterdir()] == ["secret.txt"], told
    assert (outside / "secret.txt").read_text() == SECRET
    assert SECRET not in str(told)
    # Whatever the driver starts would be outside of the Attempt's process, and outlive it.
    started = [pid for pid in process_tree.pids() if b"program.sh" in process_tree.read(f"/proc/{pid}/cmdline")]
    with contextlib.suppress(ProcessLookupError):
        for pid in started:
            os.kill(pid, 9)
    assert started == []
    for what in ("browser-type", "electron", "zip", "startServer", "tracing"):
        asked = {name: answer for name, answer in told.items() if name.startswith(what) or what in name}
        assert asked, f"{what} was not tried"
        assert all(answer.startswith("refused") for answer in asked.values()), asked
    await installation.still_works()
