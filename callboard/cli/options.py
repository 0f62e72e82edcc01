"""Settings from the environment, which options of a command override, and options that are durations."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError

from callboard.schemas.errors import BadRequest, ConfigurationError
from callboard.settings import Seconds, Settings

DataFolder = Annotated[
    Path | None, typer.Option(help="Data folder. Default: CALLBOARD_DATA_DIR, else ~/.local/share/callboard.")
]

ProjectDir = Annotated[
    Path | None, typer.Option("--project-dir", metavar="DIR", help="Project folder. Default: the current folder.")
]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

IdempotencyKey = Annotated[
    str | None, typer.Option("--idempotency-key", help="A repeated request with the same key starts nothing anew.")
]

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
"""Pattern of keys that the header may hold. Others are refused here, as they would never reach the API."""
_DURATION: TypeAdapter[timedelta] = TypeAdapter(Seconds)


def load_settings(**options: Any) -> Settings:
    """Return the settings of the environment, overridden by those options that are not None.

    Raises:
        ConfigurationError: A value is not valid; the message names its variable, and never shows a value.
    """
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        problems = "; ".join(
            f"CALLBOARD_{str(problem['loc'][0]).upper()}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError(f"The settings are wrong: {problems}.") from None


def parse_duration(text: str) -> timedelta:
    """Parse an option that is a number of seconds, or `90s`, `5m`, `12h`, `7d`."""
    try:
        return _DURATION.validate_python(text)
    except ValidationError:
        raise typer.BadParameter(f"{text!r} is not a duration such as 90s, 5m or 12h.") from None


def idempotency_header(idempotency_key: str | None) -> dict[str, str]:
    """Return the header of a request with this key; none without one. Raises BadRequest."""
    if idempotency_key is None:
        return {}
    if not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
        raise BadRequest("--idempotency-key: expected 1 to 255 visible ASCII characters.")
    return {"idempotency-key": idempotency_key}
