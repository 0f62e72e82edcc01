"""Programs that stand in for others."""

from __future__ import annotations

from pathlib import Path


def make_program(path: Path, script: str = "echo Chromium 1.2.3") -> Path:
    """A shell script at this path, which can be executed; by default it answers as Chromium does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path
