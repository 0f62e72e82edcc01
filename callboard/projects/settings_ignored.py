"""Finding settings without effect: keys of the contract that are out of scope, and misspelled keys.

A project written for another host runs here all the same, but its author should be told once what is different
(docs/contract.md, section 2.1). Keys that change nothing about a Run (`metadata`, `version`, `workspaceId`, `$schema`)
are ignored silently.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from callboard.projects.project_settings import PLATFORM_PROXY, ProjectSettings

_SILENTLY_IGNORED = ("metadata", "version", "workspaceId", "$schema")
_PLATFORM = f"{PLATFORM_PROXY} stands for a proxy of Intuned's platform, and Callboard has none"


def _enabled(value: object) -> bool:
    return bool(cast("dict[str, object]", value).get("enabled") if isinstance(value, dict) else value)


def _solves_captchas(value: object) -> bool:
    if not isinstance(value, dict):
        return bool(value)
    section = cast("dict[str, object]", value)
    kinds = [item for name, item in section.items() if name not in ("enabled", "settings")]
    return bool(section.get("enabled", any(_enabled(kind) for kind in kinds)))


def _names_no_proxy(value: object) -> bool:
    section = cast("dict[str, object]", value) if isinstance(value, dict) else {}
    return section.get("enabled") is True and not (section.get("dev") or section.get("deployed"))


def _is_platform(value: object) -> bool:
    return value == PLATFORM_PROXY


_IGNORED: tuple[tuple[str, Callable[[object], bool], str], ...] = (
    ("stealthMode", _enabled, "stealth is out of scope"),
    ("captchaSolver", _solves_captchas, "captcha solving is out of scope"),
    ("region", bool, "Runs are executed wherever the workers are"),
    ("replication.minCount", bool, "Machines are started on demand"),
    ("authSessions.finishUrl", bool, "a person says when a login is done"),
    ("authSessions.browserMode", bool, "a login is recorded in the browser of a Machine"),
    ("authSessions.saveTraces", bool, "whether to save a trace is said by each start, in saveTrace"),
    ("proxy", _names_no_proxy, "proxy.enabled is true, but neither proxy.dev nor proxy.deployed names a proxy"),
    ("proxy.dev", _is_platform, _PLATFORM),
    ("proxy.deployed", _is_platform, _PLATFORM),
    ("defaults.proxy", _is_platform, _PLATFORM),
)
"""Keys, functions that tell whether a value asks for something, and reasons why it is not available. No reason repeats
a value, as some are secrets."""

_TYPO_SIMILARITY = 0.8
"""How similar an unknown key must be to a known one to be taken for a misspelling, from 0 to 1."""


def find_ignored(data: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each key without effect in the data of a valid settings file."""
    asked = [f"{key}: ignored, as {why}" for key, asks, why in _IGNORED if asks(_get_at(data, key))]
    return [*asked, *_typos(data, ProjectSettings, "")]


def _get_at(data: Mapping[str, Any], key: str) -> object:
    value: object = data
    for part in key.split("."):
        value = cast("dict[str, object]", value).get(part) if isinstance(value, dict) else None
    return value


def _typos(data: Any, model: type[BaseModel], prefix: str) -> Iterator[str]:
    if not isinstance(data, dict):
        return
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    others = [key.removeprefix(prefix).partition(".")[0] for key, _, _ in _IGNORED if key.startswith(prefix)]
    known = [*fields, *others, *(() if prefix else _SILENTLY_IGNORED)]
    for name, value in cast("dict[str, Any]", data).items():
        if name not in known:
            meant = difflib.get_close_matches(name, known, 1, _TYPO_SIMILARITY) or _keys_named(name, ProjectSettings)
            written = name.encode(errors="backslashreplace").decode()
            hint = f"; is {meant[0]} meant?" if len(meant) == 1 else ""
            yield f"{prefix}{written}: ignored, as there is no such key{hint}"
        elif (section := _section(fields.get(name))) is not None:
            yield from _typos(value, section, f"{prefix}{name}.")


def _keys_named(name: str, model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return the keys of the settings, on whatever level, that have this name."""
    found: list[str] = []
    for key, field in ((field.alias or key, field) for key, field in model.model_fields.items()):
        found += [f"{prefix}{key}"] if key == name else []
        if (section := _section(field)) is not None:
            found += _keys_named(name, section, f"{prefix}{key}.")
    return found


def _section(field: FieldInfo | None) -> type[BaseModel] | None:
    annotation = field and field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
