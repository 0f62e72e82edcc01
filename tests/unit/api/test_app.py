"""Opening the services of the api: what must be configured."""

from typing import Any

import pytest

from api.dependencies import open_services
from schemas.errors import ConfigurationError
from settings import Settings
from temporal.connection_config import find_connection
from tests.support.api_in_process import KEY


async def open_with(fields: dict[str, Any]) -> None:
    settings = Settings.model_validate(fields)
    await open_services(settings, find_connection(settings))


async def test_without_a_key_there_is_no_application():
    with pytest.raises(ConfigurationError, match="CALLBOARD_API_KEYS"):
        await open_with({"api_keys": []})


async def test_a_short_api_key_is_refused_at_the_start():
    with pytest.raises(ConfigurationError, match="CALLBOARD_API_KEYS: key number 2 has 5 characters"):
        await open_with({"api_keys": [KEY, "short"]})


async def test_a_short_secret_key_is_refused_at_the_start():
    with pytest.raises(ConfigurationError, match="CALLBOARD_SECRET_KEY"):
        await open_with({"api_keys": [KEY], "secret_key": ["short"]})
