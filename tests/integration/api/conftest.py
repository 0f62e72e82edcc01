"""The api as a process of its own, and a Temporal server for it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path

import pytest

from devstack.temporal import TemporalServer
from storage.folder import FolderStore
from tests.support.api_in_process import KEY, SECRET
from tests.support.api_process import ApiProcess
from tests.support.constants import WORKSPACE
from tests.support.deployed_projects import artifacts as artifacts
from tests.support.deployed_projects import deployed as deployed
from tests.support.temporal_servers import dev_server


@pytest.fixture(scope="session")
async def temporal(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[TemporalServer]:
    async with dev_server(tmp_path_factory.mktemp("temporal")) as server:
        yield server


MakeApi = Callable[..., ApiProcess]
"""Makes the api as a process of its own, over the deployed projects, from a name and variables of its environment."""


@pytest.fixture(scope="session")
def make_api(deployed: FolderStore, artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeApi:
    def make(name: str, **environment: str) -> ApiProcess:
        defaults = {
            "CALLBOARD_API_KEYS": KEY,
            "CALLBOARD_SECRET_KEY": SECRET,
            "CALLBOARD_WORKSPACE_ID": WORKSPACE,
            "CALLBOARD_ARTIFACTS": str(artifacts),
            "FORWARDED_ALLOW_IPS": "*",  # of uvicorn, and nothing to the api
        }
        return ApiProcess({**defaults, **environment}, tmp_path_factory.mktemp(name) / "api.log")

    return make


@pytest.fixture
def api_process(make_api: MakeApi) -> Callable[..., ApiProcess]:
    """Makes one that a test has for itself."""
    return partial(make_api, "api")
