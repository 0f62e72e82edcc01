"""Requests are counted by their route: no label has what a caller can invent."""

import pytest

from tests.support.api_in_process import Api
from tests.support.counted import counting

REQUESTS = "callboard_http_requests"


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/healthz", "/healthz"),
        ("/openapi.json", "/openapi.json"),
        ("/static-offline-docs/invented", "other"),
        ("/invented", "other"),
        ("/projects/invented/jobs", "/projects/{projectName}/jobs"),
    ],
)
async def test_a_request_is_counted_by_its_route(api: Api, path: str, route: str):
    with counting() as counted:
        await api.client.get(path)
        assert [labels["route"] for name, _, labels in counted() if name == REQUESTS] == [route]
