"""Fixtures of the api: its application in this process, and the same on a port."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from intuned_client import AsyncIntunedClient

from tests.support.api_in_process import KEY, Api
from tests.support.api_in_process import api as api
from tests.support.api_in_process import artifacts as artifacts
from tests.support.api_in_process import deployed as deployed
from tests.support.api_in_process import make_api as make_api
from tests.support.api_in_process import make_project_api as make_project_api
from tests.support.constants import WORKSPACE


@pytest.fixture
async def served(api: Api) -> AsyncGenerator[str]:
    """The application on a real port; its address. What `api` starts is seen there."""
    async with api.served() as url:
        yield url


@pytest.fixture
def library_options(served: str) -> dict[str, Any]:
    """What the published client library is made with."""
    return {"api_key": KEY, "workspace_id": WORKSPACE, "base_url": f"{served}/api/v1/workspace", "timeout": 30}


@pytest.fixture
async def client(library_options: dict[str, Any]) -> AsyncGenerator[AsyncIntunedClient]:
    """The published client library, unmodified, over HTTP."""
    async with AsyncIntunedClient(**library_options) as client:
        yield client
