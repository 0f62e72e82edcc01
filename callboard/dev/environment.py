"""The environment of the stack's processes: settings are turned back into the variables that they are read from."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta
from typing import cast

from pydantic import SecretStr

from callboard.settings import Settings

_PREFIX = "CALLBOARD_"
_TEMPORAL_PREFIX = "TEMPORAL_"


def build_environment(settings: Settings) -> dict[str, str]:
    """Return this process's environment, with exactly these settings in it.

    All settings in the environment are replaced, so that parent and children cannot differ. Variables of Temporal's own
    configuration are left out: they are about another Temporal, and keys may be among them.
    """
    names = {_PREFIX + field.upper() for field in Settings.model_fields}
    environment = {
        name: value
        for name, value in os.environ.items()
        if name.upper() not in names and not name.startswith(_TEMPORAL_PREFIX)
    }
    for field in Settings.model_fields:
        value: object = getattr(settings, field)
        if value is not None:
            environment[_PREFIX + field.upper()] = _text(value)
    return environment


def _text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(_text(item) for item in cast("Iterable[object]", value))
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, timedelta):
        return str(value.total_seconds())
    return str(value)
