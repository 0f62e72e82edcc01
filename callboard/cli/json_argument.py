"""Reading arguments that are JSON, typed on the command line, in a file or on stdin."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, cast

from callboard.schemas.errors import BadRequest

JSON_HELP = "JSON, or @FILE, or - for stdin"


def read_json(argument: str, option: str) -> Any:
    """Return the value of an argument, which is JSON, `@FILE`, the name of a file, or `-` for stdin.

    Raises:
        BadRequest: It is not JSON, or the file cannot be read. The message does not repeat the content, as it may be a
            secret.
    """
    if argument == "-":
        return _parse(sys.stdin.read(), f"{option}: what came on stdin")
    if argument.startswith("@"):
        return _parse(_read_file(Path(argument[1:]), option), f"{option}: {argument[1:]}")
    if _is_file(argument):
        return _parse(_read_file(Path(argument), option), f"{option}: {argument}")
    return _parse(argument, option)


def read_object(argument: str, option: str) -> dict[str, Any]:
    """Return the value of an argument like `read_json`, and raise BadRequest if it is not an object."""
    value = read_json(argument, option)
    if not isinstance(value, dict):
        raise BadRequest(f"{option}: expected a JSON object.")
    return cast("dict[str, Any]", value)


def _is_file(argument: str) -> bool:
    if argument.lstrip().startswith(("{", "[")):
        return False
    try:
        return Path(argument).is_file()
    except (OSError, ValueError):  # No file can have such a name.
        return False


def _read_file(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise BadRequest(f"{what}: {path} cannot be read: {why}.") from error


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:  # The error names a place in the text, and quotes nothing.
        raise BadRequest(f"{where} is not JSON: {error}. Expected JSON, or @FILE.") from error
