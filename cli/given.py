"""Settings as a command sees them: the environment, beaten by the options that were given."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from contract.errors import ConfigurationError
from settings import Settings


def settings_with(**options: Any) -> Settings:
    """The settings, with those options that are not None in place of what the environment says.

    Raises:
        ConfigurationError: a value does not fit; the message names its variable, and never shows a value.
    """
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        problems = "; ".join(
            f"CALLBOARD_{str(problem['loc'][0]).upper()}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError(f"The settings are wrong: {problems}.") from None
