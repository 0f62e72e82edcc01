"""Reading the settings file of a project folder, and explaining in plain words what is wrong with one.

The first file of `SETTINGS_PARSERS` that exists is read. Whatever its syntax is, the same models check it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from callboard.projects.project_settings import NAME_RULE, ProjectSettings, is_project_name
from callboard.projects.settings_ignored import find_ignored
from callboard.projects.settings_syntax import SETTINGS_PARSERS, SettingsSyntaxError
from callboard.schemas.errors import ProjectError, SettingsError
from callboard.schemas.rest.base import EXPECTED
from callboard.schemas.rest.sink import UNKNOWN_SINK_TYPE

MAX_SETTINGS_SIZE = 128 * 1024
"""Most bytes of a settings file. It is written by hand, so a bigger file is something else under its name; and the
parsers take a minute for a megabyte."""


_SECRET = (("proxy",), ("defaults",), ("authSessions", "secretParameters"), ("handoffs", "webhook"), ("alerts",))
"""Keys below which proxies, sinks, webhooks and the names of secrets are. A value there may be a secret, even one that
is in the wrong place."""

_NO_SECRET = (
    ("defaults", "retry"),
    ("defaults", "requestTimeout"),
    ("defaults", "queueTimeout"),
    ("defaults", "authSession"),
)


@dataclass(frozen=True)
class SettingsFile:
    """The content of a settings file."""

    name: str
    settings: ProjectSettings
    ignored: tuple[str, ...]
    """Sentences about settings in the file that have no effect."""


def read_settings(folder: Path) -> ProjectSettings:
    """Return the settings of the project in `folder`; raise the same errors as `read_settings_file`."""
    return read_settings_file(folder).settings


def read_settings_file(folder: Path) -> SettingsFile:
    """Return the settings of the project in `folder`, the file's name, and notes about keys without effect.

    Raises:
        ProjectError: There is no settings file, or it cannot be read.
        SettingsError: It does not follow its syntax, or a key is wrong; the message names the file, the key, and what
            is expected and found.
    """
    for name in SETTINGS_PARSERS:
        path = folder / name
        if path.is_file():
            return parse_settings_file(name, _read(name, path))
    raise ProjectError(
        f"{folder}: this is not a project, as it has no settings file. Create Intuned.jsonc in it; {{}} is enough."
    )


def parse_settings_file(name: str, data: bytes) -> SettingsFile:
    """Return what the settings file of this name says, whose content is `data`.

    Raises:
        SettingsError: It does not follow its syntax, or a key is wrong.
    """
    if len(data) > MAX_SETTINGS_SIZE:
        raise SettingsError(name, "", f"expected settings of at most {MAX_SETTINGS_SIZE:,} bytes, found more")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(name, "", f"expected text in UTF-8, found another byte at {error.start}") from error
    found = _parse(name, text, SETTINGS_PARSERS[name])
    return SettingsFile(name, _validate(name, found), tuple(find_ignored(found)))


def resolve_project_name(folder: Path, settings: ProjectSettings) -> str:
    """Return `projectName` of the settings, or the folder's name if it is not set.

    Raises:
        ProjectError: The folder's name cannot be a project's name.
    """
    # The path is not resolved: if the folder is a symbolic link, people see the link's name.
    name = settings.project_name or Path(os.path.abspath(folder)).name  # noqa: PTH100
    if not is_project_name(name):
        raise ProjectError(
            f"{folder}: the folder's name {name!r} cannot be a project's name ({NAME_RULE}). "
            "Set projectName in the settings file, or rename the folder."
        )
    return name


def _read(name: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_SETTINGS_SIZE + 1)
    except OSError as error:
        raise ProjectError(f"{name}: the settings file cannot be read: {error.strerror}.") from error


def _parse(name: str, text: str, parse: Callable[[str], object]) -> dict[str, Any]:
    try:
        data = parse(text)
    except SettingsSyntaxError as error:
        raise SettingsError(name, "", str(error)) from None  # The chained error would show lines of the file.
    if not isinstance(data, dict):
        raise SettingsError(name, "", f"expected an object, found {_describe_value(data)}")
    return cast("dict[str, Any]", data)


def _validate(name: str, data: dict[str, Any]) -> ProjectSettings:
    try:
        # Only aliases count: `project_name` in a file is an unknown key like any other.
        return ProjectSettings.model_validate(data, by_alias=True, by_name=False)
    except ValidationError as error:
        explained: dict[str, str] = {}
        for key, what in map(_explain, error.errors(include_url=False)):
            explained.setdefault(key, what)
        first, *others = explained.items()
        # A chained error would repeat the value that was found.
        raise SettingsError(name, *first, *others) from None


def _explain(error: ErrorDetails) -> tuple[str, str]:
    """Return the key, and a phrase that says what is wrong with it."""
    kind, context, location = error["type"], error.get("ctx", {}), error["loc"]
    if location[:2] == ("defaults", "sink"):
        # The part after dev or deployed is the kind of sink, which is not a key of the file.
        location = (*location[:3], *location[4:])
    given: Any = error["input"]
    # The error may be about one key, but was found by checking its section.
    if "of" in context or kind == UNKNOWN_SINK_TYPE:
        about = context.get("of", "type")
        location = (*location, about)
        given = cast("dict[str, Any]", given).get(about) if isinstance(given, dict) else None
    path = ".".join(str(part) for part in location).encode(errors="backslashreplace").decode()
    if kind == "extra_forbidden":
        return path, "there is no such key in a sink, a webhook or an alert"
    if kind == "missing":
        given = None
    if _is_below(location, _SECRET) and not _is_below(location, _NO_SECRET):
        found = _describe_type(given)
    else:
        found = "nothing" if given is None else _describe_value(given)
    return path, f"expected {_describe_expected(error)}, found {found}"


def _is_below(location: tuple[int | str, ...], places: tuple[tuple[str, ...], ...]) -> bool:
    return any(location[: len(place)] == place for place in places)


def _describe_expected(error: ErrorDetails) -> str:
    match error["type"]:
        case "setting":
            return error["msg"]
        case rest if rest == EXPECTED:
            return error.get("ctx", {})["expected"]
        case rest if rest == UNKNOWN_SINK_TYPE:
            return '"webhook" or "s3"'
        case "missing":
            return "a value, as this key is required"
        case "bool_type":
            return "true or false"
        case "string_type":
            return "text"
        case "model_type" | "dict_type":
            return "an object"
        case "literal_error":
            return str(error.get("ctx", {})["expected"]).replace("'", '"')
        case _:  # This happens, for example, with half a surrogate pair.
            return "another value"


def _describe_value(value: Any) -> str:
    """Return the value as it is in the file if it is a simple one, cut to 80 characters, else its kind."""
    if not (value is None or isinstance(value, str | bool | int | float)) or _is_odd(value):
        return _describe_type(value)
    text = json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace").decode()
    return text if len(text) <= 80 else text[:77] + "…"


def _is_odd(value: object) -> bool:
    """Tell whether the value is a number that JSON does not have, or that Python refuses to write out."""
    if isinstance(value, float):
        return not math.isfinite(value)
    return isinstance(value, int) and value.bit_length() > 1024


def _describe_type(value: object) -> str:
    match value:
        case dict():
            return "an object"
        case list():
            return "a list"
        case str():
            return "another text"
        case bool():
            return "true or false"
        case float() if not math.isfinite(value):
            return "a number that is not finite"
        case int() | float():
            return "a number"
        case date() | time():
            return "a date or time"
        case _:
            return "nothing"
