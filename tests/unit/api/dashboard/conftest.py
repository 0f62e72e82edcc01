"""The pages, as somebody sees them who has signed in."""

import pytest

from tests.support.api_in_process import Api
from tests.support.dashboard_client import Pages, signed_in_client


@pytest.fixture
async def pages(api: Api) -> Pages:
    return await signed_in_client(api)
