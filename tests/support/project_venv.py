"""The environments of a project in each language, which are built once for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.package_index import FETCHED, package_index
from tests.support.processes import callboard_process


@pytest.fixture(scope="session")
def index(packages: None) -> Iterator[str]:
    """Address of an index of all packages, with Playwright's driver, which code of projects starts here."""
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


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `callboard venv` makes for a project in TypeScript without packages. Such projects have copies of it."""
    folder = tmp_path_factory.mktemp("shared-node")
    (folder / "package.json").write_text("{}")
    done = callboard_process("venv", cwd=folder, CALLBOARD_DATA_DIR=str(folder / "data"), COLUMNS="500")
    assert done.returncode == 0, done.stderr
    return folder / "node_modules"
