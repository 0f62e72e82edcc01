"""Where this project lies, for tests that read or run what is in it."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
