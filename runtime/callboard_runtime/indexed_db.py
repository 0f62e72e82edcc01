"""IndexedDB in a login that keeps it (docs/contract.md, section 4.5): its shape, and what is done with it in pages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Databases = list[dict[str, Any]]
"""The databases of one origin, as Playwright tells them in the `indexedDB` of a storage state."""

# Python and JavaScript execute the same functions in pages.
_FUNCTIONS = f"const module = {{}}; {Path(__file__).with_suffix('.js').read_text(encoding='utf-8')}"
FILL = f"text => {{ {_FUNCTIONS} return module.exports.fillDatabases(text); }}"
"""Write the databases of an origin, in a page of it, that is given both as JSON text."""
_FIND_UNKEPT = f"limits => {{ {_FUNCTIONS} return module.exports.findUnkept(limits); }}"

MOST_UNKEPT = 20
"""Most kinds of values that are named of an origin, each once for a store, and of all origins."""
_LONGEST_NAME = 100
"""Most characters of a name that are shown: a site may give its databases any name."""


def databases_of(given: Iterable[Any]) -> Databases:
    """Return databases in one shape, without the nulls that stand for what is not there.

    Raises:
        TypeError, LookupError, AttributeError: They are not of the shape that Playwright gives them.
    """
    return [
        {
            "name": database["name"],
            "version": database["version"],
            "stores": [
                {
                    **_without_nulls(store),
                    "records": [dict(record) for record in store["records"]],
                    "indexes": [_without_nulls(index) for index in store["indexes"]],
                }
                for store in database["stores"]
            ],
        }
        for database in given
    ]


def _without_nulls(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def comparable(databases: Databases) -> Any:
    """Return what is the same for databases that hold the same, in whatever order they were told."""
    return {
        database["name"]: (
            database["version"],
            {
                store["name"]: (
                    _sorted(store["records"]),
                    _sorted(store["indexes"]),
                    [store.get(field) for field in ("keyPath", "keyPathArray", "autoIncrement")],
                )
                for store in database["stores"]
            },
        )
        for database in databases
    }


def _sorted(parts: list[Any]) -> list[str]:
    return sorted(json.dumps(part, sort_keys=True) for part in parts)


def largest(origins: Iterable[Mapping[str, Any]]) -> str | None:
    """Return a sentence that names the largest database and its size; None if there is none."""
    sizes = [
        (len(json.dumps(database, separators=(",", ":"))), database["name"], entry["origin"])
        for entry in origins
        for database in entry.get("indexedDB", ())
    ]
    if not sizes:
        return None
    size, name, origin = max(sizes)
    return f"Its largest database is {_shown(name)} of {origin}, with {size} bytes."


def may_lack_something(databases: Databases) -> bool:
    """Tell whether Playwright may have made an empty object of a value. One that was empty before looks the same."""
    return '{"o":[],' in json.dumps(databases, separators=(",", ":"))


def find_unkept(milliseconds: float) -> tuple[str, dict[str, Any]]:
    """Return a script for a page, and its argument, that finds what is not kept of the databases of its origin."""
    return _FIND_UNKEPT, {"most": MOST_UNKEPT, "milliseconds": milliseconds}


def named(origin: str, answer: Any) -> list[str]:
    """Return what that script has found, for people. The site may have seen to it that it answers anything.

    Raises:
        TypeError, ValueError, LookupError: It is no such answer.
    """
    found = [
        f"{_shown(kind)} in store {_shown(store)} of database {_shown(database)} of {origin}"
        for database, store, kind in answer["found"][:MOST_UNKEPT]
    ]
    return found if answer["all"] else [*found, f"perhaps more of {origin}, which was not read in time"]


def _shown(name: str) -> str:
    # A long one is not cut: half of a secret would not be masked.
    return name if len(name) <= _LONGEST_NAME else f"(a name of {len(name)} characters)"
