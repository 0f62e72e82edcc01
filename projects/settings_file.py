"""Reading the settings file of a project folder, and saying in plain words what is wrong with one.

The first spelling of `SPELLINGS` that is there is read; whatever syntax it has, the same models check it.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import json5
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from contract.errors import ProjectError, SettingsError
from projects.settings import NAME_RULE, ProjectSettings, is_project_name

_MAX_SIZE = 1024 * 1024
"""Bytes. A settings file is written by hand; a bigger one is something else under its name."""


class _NotReadableError(Exception):
    """The text does not follow its syntax; the message says where and why."""


def _json_with_comments(text: str) -> object:
    if not text.strip():
        raise _NotReadableError("expected a JSON object, found an empty file")
    try:
        return json5.loads(text)
    except RecursionError as error:
        raise _NotReadableError("expected JSON, found too many levels of objects and lists") from error
    except ValueError as error:
        found = str(error)
        if place := re.fullmatch(r"<string>:(\d+) Unexpected (.+) at column (\d+)", found, re.DOTALL):
            line, what, column = place.groups()
            found = f"an unexpected {what} in line {line}, column {column}"
        raise _NotReadableError(f"expected JSON, found {found}") from error


SPELLINGS: Mapping[str, Callable[[str], object]] = {
    "Intuned.json": _json_with_comments,
    "Intuned.jsonc": _json_with_comments,
}
"""Name of a settings file and what parses it; the first that is there wins. Both may hold comments."""


def read_settings(folder: Path) -> ProjectSettings:
    """The settings of the project in `folder`.

    Raises:
        ProjectError: there is no settings file, or it cannot be read.
        SettingsError: it is not in its syntax, or one key is wrong; names file, key, what is expected and found.
    """
    for name, parse in SPELLINGS.items():
        path = folder / name
        if path.is_file():
            return _checked(name, _parsed(name, _text(name, path), parse))
    raise ProjectError(
        f"{folder}: this is not a project, as it has no settings file. Create Intuned.jsonc in it; {{}} is enough."
    )


def project_name(folder: Path, settings: ProjectSettings) -> str:
    """`projectName` of the settings, else the folder's name.

    Raises:
        ProjectError: the folder's name cannot be a project's.
    """
    # Not resolved: where the folder is a symbolic link, the name that people see is the link's.
    name = settings.project_name or Path(os.path.abspath(folder)).name  # noqa: PTH100
    if not is_project_name(name):
        raise ProjectError(
            f"{folder}: the folder's name {name!r} cannot be a project's name ({NAME_RULE}). "
            "Set projectName in the settings file, or rename the folder."
        )
    return name


def _text(name: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_SIZE + 1)
    except OSError as error:
        raise ProjectError(f"{name}: the settings file cannot be read: {error.strerror}.") from error
    if len(data) > _MAX_SIZE:
        raise SettingsError(name, "", f"expected settings of at most {_MAX_SIZE:,} bytes, found more")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(name, "", f"expected text in UTF-8, found another byte at {error.start}") from error


def _parsed(name: str, text: str, parse: Callable[[str], object]) -> object:
    try:
        return parse(text)
    except _NotReadableError as error:
        raise SettingsError(name, "", str(error)) from error


def _checked(name: str, data: object) -> ProjectSettings:
    if not isinstance(data, dict):
        raise SettingsError(name, "", f"expected an object, found {_found(data)}")
    try:
        # By alias only: `project_name` in a file is an unknown key, like any other.
        return ProjectSettings.model_validate(data, by_alias=True, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        context = first.get("ctx", {})
        key = ".".join(str(part) for part in (*first["loc"], *([context["of"]] if "of" in context else [])))
        found = "nothing" if "of" in context else _found(first["input"])
        raise SettingsError(name, key, f"expected {_expected(first)}, found {found}") from error


def _expected(error: ErrorDetails) -> str:
    match error["type"]:
        case "setting":
            return error["msg"]
        case "bool_type":
            return "true or false"
        case "string_type":
            return "text"
        case "model_type" | "dict_type":
            return "an object"
        case "literal_error":
            return str(error.get("ctx", {})["expected"]).replace("'", '"')
        case other:
            raise AssertionError(f"a setting has a type without words for it: {other}")


def _found(value: Any) -> str:
    """The value as it stands in the file, if it is short, else what kind it is."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, float) and not math.isfinite(value):
        return "a number that is not finite"
    text = json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace").decode()
    return text if len(text) <= 80 else text[:77] + "…"
