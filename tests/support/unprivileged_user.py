"""Runs programs of ours as a user that is not root, whoever runs the tests: some walls stand for such users only."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from tests.support.repository import REPOSITORY

_NOBODY = 65534


def options(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Options for subprocess: an ordinary user, and the environment that it needs to run our code.

    The test is skipped where there is no such user that could.
    """
    if (reason := _why_not()) is not None:
        pytest.skip(reason)
    return _options(environment or {})


def _options(environment: Mapping[str, str]) -> dict[str, Any]:
    given = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
        **environment,
    }
    who = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    return {"env": given, "cwd": "/", **who}


@contextlib.contextmanager
def folder() -> Generator[Path]:
    """A folder of that user's, which goes at the end. Those that pytest makes are closed to all but its own user."""
    with tempfile.TemporaryDirectory(prefix="ordinary-user-") as made:
        if os.geteuid() == 0:
            os.chown(made, _NOBODY, _NOBODY)
        yield Path(made)


@lru_cache
def _why_not() -> str | None:
    try:
        subprocess.run(
            [sys.executable, "-c", "import callboard.machines, tests.support.machines"], **_options({}), check=True
        )
    except (PermissionError, subprocess.CalledProcessError):
        return f"Users other than root cannot run what lies in {REPOSITORY}."
    return None
