"""Parsers for settings files in JSON with comments, YAML and TOML. Each returns values that JSON could hold, and dates.

All parsers refuse a key that occurs twice in one object, because nobody can tell which of the two is meant.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

import json5
import yaml


class SettingsSyntaxError(Exception):
    """An error for text that does not follow its syntax. The message says where and why, and repeats no value."""


def parse_json(text: str) -> object:
    """Parse JSON as people write it: with comments, trailing commas and all else that JSON5 allows."""
    if not text.strip():
        raise SettingsSyntaxError("expected a JSON object, found an empty file")
    try:
        value, error, position = json5.parse(text, allow_duplicate_keys=False)
        if error is None:
            return value
        raise SettingsSyntaxError(f"expected JSON, found {_describe_json_error(text, error, position)}")
    except RecursionError as error:
        raise SettingsSyntaxError("expected JSON, found too many levels of objects and lists") from error


def _describe_json_error(text: str, error: str, position: int) -> str:
    """Say what the parser found at `position`, where it gave up, and whether a comma before it lets it get further."""
    place = re.fullmatch(r"<string>:(\d+) Unexpected .+ at column (\d+)", error, re.DOTALL)
    if place is None:
        return re.sub(r"Duplicate key (.+) found in object", r"the key \1 twice in one object", error, flags=re.DOTALL)
    where = f"in line {place[1]}, column {place[2]}"
    if position >= len(text):
        return f"an unexpected end of input {where}"
    found = "end of line" if text[position] == "\n" else repr(text[position])
    # The parser is past the unexpected character only if it was a comma that it had expected there.
    _, _, further = json5.parse(f"{text[:position]},{text[position:]}")
    return f"an unexpected {found} {where}{', before which a comma may be missing' if further > position + 1 else ''}"


def parse_toml(text: str) -> object:
    """Parse TOML 1.0; dates stay dates."""
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise SettingsSyntaxError("expected TOML, found too many levels of tables and arrays") from error
    except ValueError as error:
        raise SettingsSyntaxError(f"this is not TOML: {error}") from error


def parse_yaml(text: str) -> object:
    """Parse one YAML document. Plain values are read as in JSON: `on`, `yes`, dates and `1_000` are text."""
    try:
        # This loader is a safe one: it creates the values that `_StrictLoader` lists, and nothing else.
        value: object = yaml.load(text, _StrictLoader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise SettingsSyntaxError(f"this is not YAML: {what}{where}") from error
    except yaml.reader.ReaderError as error:
        raise SettingsSyntaxError(f"this is not YAML: {error.reason} (character {error.position + 1})") from error
    except RecursionError as error:
        raise SettingsSyntaxError("expected YAML, found too many levels of mappings and lists") from error
    except (ValueError, KeyError) as error:
        raise SettingsSyntaxError("this is not YAML: a value does not suit its tag (!!…)") from error
    if value is None:
        raise SettingsSyntaxError("expected a YAML mapping, found an empty file")
    return value


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader without the guesses of YAML 1.1, which make `no` false and `1:30` ninety.

    The settings models alone decide what a setting may be, so the same text means the same in every syntax.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012 - filled below, as PyYAML wants it
    yaml_constructors = {  # noqa: RUF012
        tag: construct
        for tag, construct in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in ("null", "bool", "int", "float", "str", "seq", "map")
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag.endswith(":merge"):
                continue
            if not isinstance(key, yaml.ScalarNode) or not key.tag.endswith(":str"):
                raise _yaml_error(key, "expected text as a key; put it in quotes")
            if key.value in seen:
                raise _yaml_error(key, f"the key {key.value!r} stands twice in one mapping")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _yaml_error(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)


for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)", list("-+0123456789")),
    ("merge", r"<<", ["<"]),
):
    _StrictLoader.add_implicit_resolver(  # pyright: ignore[reportUnknownMemberType] - its stub says nothing
        f"tag:yaml.org,2002:{_name}", re.compile(rf"(?:{_pattern})\Z"), _first
    )

SETTINGS_PARSERS: Mapping[str, Callable[[str], object]] = {
    "Intuned.json": parse_json,
    "Intuned.jsonc": parse_json,
    "Intuned.yaml": parse_yaml,
    "Intuned.yml": parse_yaml,
    "Intuned.toml": parse_toml,
}
"""Names of settings files and their parsers; the first file that exists is read."""
