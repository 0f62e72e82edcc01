"""A stack that the tests of faults share."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.support.repository import REPOSITORY
from tests.support.stack import Stack


@pytest.fixture(scope="session")
async def faulty(tmp_path_factory: pytest.TempPathFactory, site: str) -> AsyncIterator[Stack]:
    """A stack to be ill-treated. Its processes are restarted by their supervisor."""
    folder = tmp_path_factory.mktemp("faulty")
    for project in ("tests/system/projects/lab", "tests/system/projects/guarded", "examples/projects/orders"):
        source = REPOSITORY / project
        shutil.copytree(source, folder / "projects" / source.name)
    async with Stack.up(folder, folder / "projects", site, machine_idle=timedelta(seconds=30)) as running:
        yield running
