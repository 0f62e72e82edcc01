"""Making the application: what must be configured."""

import pytest

from api.app import create_app
from schemas.errors import ConfigurationError
from settings import Settings
from tests.support.api_in_process import KEY


def test_without_a_key_there_is_no_application():
    with pytest.raises(ConfigurationError, match="CALLBOARD_API_KEYS"):
        create_app(Settings.model_validate({"api_keys": []}))


def test_a_short_api_key_is_refused_at_the_start():
    with pytest.raises(ConfigurationError, match="CALLBOARD_API_KEYS: key number 2 has 5 characters"):
        create_app(Settings.model_validate({"api_keys": [KEY, "short"]}))


def test_a_short_secret_key_is_refused_at_the_start():
    with pytest.raises(ConfigurationError, match="CALLBOARD_SECRET_KEY"):
        create_app(Settings.model_validate({"api_keys": [KEY], "secret_key": ["short"]}))
