"""What must be configured: without it, the api does not open, or refuses what needs it."""

from typing import Any

import pytest

from api.dependencies import open_services
from callboard.schemas.errors import ConfigurationError
from callboard.settings import Settings
from callboard.temporal.connection_config import find_connection
from tests.support.api_in_process import KEY, MakeApi
from tests.support.constants import WORKSPACE

SECRET = "t0p-s3cret"
START = {"api": "list", "parameters": {}}
WEBHOOK = {"type": "webhook", "url": f"https://93.184.215.14/?token={SECRET}"}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"api_keys": []}, "CALLBOARD_API_KEYS"),
        ({"api_keys": [KEY, "short"]}, "CALLBOARD_API_KEYS: key number 2 has 5 characters"),
        ({"api_keys": [KEY], "secret_key": ["short"]}, "CALLBOARD_SECRET_KEY"),
    ],
)
async def test_without_keys_that_are_long_enough_nothing_is_opened(fields: dict[str, Any], told: str):
    settings = Settings.model_validate(fields)
    with pytest.raises(ConfigurationError, match=told):
        await open_services(settings, find_connection(settings))


@pytest.mark.parametrize(
    ("project", "call", "body"),
    [
        ("shop", "run/start", {**START, "proxy": f"http://u:{SECRET}@proxy.example"}),
        ("shop", "run/start", {**START, "sink": WEBHOOK}),
        ("members", "run/start", {**START, "authSession": {"runtimeInput": {"password": SECRET}}}),
        ("members", "auth-sessions/create", {"parameters": {"password": SECRET}}),
        ("recorded", "auth-sessions/import", {"state": {"cookies": [], "origins": []}}),
        ("shop", "jobs", {"id": "nightly", "payload": [], "configuration": {}, "sink": WEBHOOK}),
    ],
)
async def test_without_a_secret_key_nothing_is_kept_that_has_to_be_sealed(
    make_api: MakeApi, project: str, call: str, body: Any
):
    api = await make_api(secret_key=[])
    kept = ("auth-sessions/", "job-runs/", "jobs/", "runs/")
    before = await api.stored(*kept)
    answer = await api.client.post(f"/api/v1/workspace/{WORKSPACE}/projects/{project}/{call}", json=body)
    assert (answer.status_code, answer.json()["retirable"]) == (500, False)
    assert "CALLBOARD_SECRET_KEY" in answer.json()["message"]
    assert SECRET not in answer.text
    assert (await api.stored(*kept), api.runs.entries) == (before, {})


async def test_without_a_secret_key_a_start_takes_no_idempotency_key(make_api: MakeApi):
    answer = await (await make_api(secret_key=[])).start(idempotency_key="k")
    assert (answer.status_code, "CALLBOARD_SECRET_KEY" in answer.json()["message"]) == (500, True)
