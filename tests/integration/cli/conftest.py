"""A Temporal server for the tests of a module, and an environment for projects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from devstack.temporal import TemporalServer
from tests.support.fake_api import callboard_process
from tests.support.package_index import FETCHED, package_index
from tests.support.temporal_servers import dev_server


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TemporalServer]:
    async with dev_server(tmp_path_factory.mktemp("temporal")) as server:
        yield server


@pytest.fixture(scope="session")
def index(packages: None) -> Iterator[str]:
    """Address of an index of all packages, with Playwright's driver, which tests of projects start."""
    with package_index(FETCHED) as address:
        yield address


@pytest.fixture(scope="session")
def venv(index: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment that `callboard venv` makes for a project without packages. Such projects link to it."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "Intuned.jsonc").write_text("{}")
    done = callboard_process(
        "venv", cwd=folder, UV_DEFAULT_INDEX=index, CALLBOARD_DATA_DIR=str(folder / "data"), COLUMNS="500"
    )
    assert done.returncode == 0, done.stderr
    return folder / ".venv"
