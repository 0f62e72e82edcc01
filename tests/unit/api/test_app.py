"""Opening the services of the api: what must be configured."""

from typing import Any

import pytest

from api.dependencies import open_services
from schemas.errors import ConfigurationError
from settings import Settings
from temporal.connection_config import find_connection
from tests.support.api_in_process import KEY


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
