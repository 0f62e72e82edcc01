"""What the schema of an API's parameters says, for people: a row for each field, and a beginning to fill in.

Schemas come from code of projects. A deploy has checked that each is a schema. Of a large one, a part is shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

from callboard.projects.input_schemas import InputSchema
from callboard.schemas.workflow.base import clip
from callboard.security.secret_detection import is_secret_name

_MOST_FIELDS = 100
_DEEPEST = 5
"""Most levels of fields within fields."""
_DEEPEST_KIND = 2
"""Most levels of choices and arrays that are named of one field."""
_MOST_VALUES = 8
"""Most values that are named of those that a field may have."""
_MOST_REFERENCES = 10
_MOST_CHOICES = 50
"""Most values of which a list is shown."""
_WITHIN = ".[*"
"""Characters of paths to fields within others."""
_INPUTS = {"date": "date", "email": "email", "uri": "url", "password": "password"}
"""Types of `<input>` by the format of a text."""
_LONGEST = 300
_EMPTY: dict[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False, "array": [], "null": None}


@dataclass(frozen=True)
class SchemaField:
    """A field of the parameters."""

    name: str
    """Its path: `filters.brands[]` for each item of an array in an object."""
    kind: str
    """What it takes, in words."""
    required: bool
    description: str
    default: str | None
    """JSON of what counts if it is left out; None if nothing does."""
    control: str | None
    """The type of the `<input>` for it, or `select`; None where only JSON says what it takes."""
    choices: tuple[str, ...]
    """JSON of each of the values that it may have; empty if there are others, or too many."""


def schema_fields(schema: InputSchema) -> list[SchemaField]:
    """Return the fields of the parameters, each before the fields within it. There are at most a hundred."""
    return list(islice(_Reader(schema).fields(schema, "", _DEEPEST), _MOST_FIELDS))


def parameters_skeleton(schema: InputSchema) -> str:
    """Return JSON of parameters that have what is required, to be filled in."""
    return json.dumps(_Reader(schema).skeleton(schema, _DEEPEST), indent=2, ensure_ascii=False)


class _Reader:
    def __init__(self, schema: InputSchema) -> None:
        self._definitions: Mapping[str, Any] = schema.get("$defs", {})

    def fields(self, schema: Any, prefix: str, depth: int, around: Sequence[Any] = ()) -> Iterator[SchemaField]:
        """Yield the fields within a value with this schema, whose path is `prefix`.

        `around` are the schemas of what the value lies in: fields of what contains itself are told once.
        """
        inner = self._inner(schema)
        if depth == 0 or inner.get("properties") in around:
            return
        around = (*around, inner.get("properties", {}))
        if isinstance(items := inner.get("items"), dict):
            yield from self.fields(items, f"{prefix}[]", depth - 1, around)
        if isinstance(values := inner.get("additionalProperties"), dict):
            yield self._field(values, f"{prefix}.*" if prefix else "*", required=False)
            yield from self.fields(values, f"{prefix}.*" if prefix else "*", depth - 1, around)
        required = inner.get("required", [])
        for name, field in inner.get("properties", {}).items():
            path = f"{prefix}.{name}" if prefix else name
            yield self._field(field, path, required=name in required)
            yield from self.fields(field, path, depth - 1, around)

    def skeleton(self, schema: Any, depth: int) -> Any:
        """Return a value that the schema allows, as far as that is easily said."""
        whole = self._resolved(schema)
        if "default" in whole or "const" in whole:
            return whole.get("default", whole.get("const"))
        for several in ("enum", "examples"):
            if isinstance(values := whole.get(several), list) and values:
                return cast("list[Any]", values)[0]
        for several in ("anyOf", "oneOf"):
            if depth and isinstance(choices := whole.get(several), list) and choices:
                return self.skeleton(cast("list[Any]", choices)[0], depth - 1)
        properties = whole.get("properties", {})
        if "properties" not in whole and whole.get("type") != "object":
            kind: Any = whole.get("type")
            return _EMPTY.get(kind) if isinstance(kind, str) else None
        names = [name for name in whole.get("required", []) if name in properties] if depth else []
        return {name: self.skeleton(properties[name], depth - 1) for name in names}

    def _field(self, schema: Any, path: str, *, required: bool) -> SchemaField:
        whole = self._resolved(schema)
        said = whole.get("description") or ""
        default = json.dumps(whole["default"], ensure_ascii=False) if whole.get("default") is not None else None
        return SchemaField(
            name=clip(path, _LONGEST),
            kind=clip(self._kind(schema, _DEEPEST_KIND), _LONGEST),
            required=required,
            description=clip(str(said), _LONGEST),
            default=default and clip(default, _LONGEST),
            control=None if set(path) & set(_WITHIN) else self._control(path, schema),
            choices=self._choices(schema),
        )

    def _control(self, name: str, schema: Any) -> str | None:
        inner = self._inner(schema)
        if self._choices(schema):
            return "select"
        match inner.get("type"):
            case "string":
                return "password" if is_secret_name(name) else _INPUTS.get(str(inner.get("format")), "text")
            case "integer" | "number":
                return "number"
            case "boolean":
                return "checkbox"
            case _:
                return None

    def _choices(self, schema: Any) -> tuple[str, ...]:
        values = self._inner(schema).get("enum")
        if not isinstance(values, list) or len(cast("list[Any]", values)) > _MOST_CHOICES:
            return ()
        return tuple(json.dumps(value, ensure_ascii=False) for value in cast("list[Any]", values))

    def _kind(self, schema: Any, depth: int) -> str:
        whole = self._resolved(schema)
        if "const" in whole:
            return json.dumps(whole["const"], ensure_ascii=False)
        if isinstance(values := whole.get("enum"), list):
            shown = [json.dumps(value, ensure_ascii=False) for value in cast("list[Any]", values)[:_MOST_VALUES]]
            return " or ".join([*shown, *(["…"] if len(cast("list[Any]", values)) > _MOST_VALUES else [])])
        for several in ("anyOf", "oneOf"):
            if depth and isinstance(choices := whole.get(several), list):
                kinds = [self._kind(each, depth - 1) for each in cast("list[Any]", choices)[:_MOST_VALUES]]
                return " or ".join(dict.fromkeys(kinds))
        kind: Any = whole.get("type", "any value")
        if isinstance(kind, list):
            return " or ".join(map(str, cast("list[Any]", kind)))
        if kind == "array" and depth and isinstance(items := whole.get("items"), dict):
            return f"array of {self._kind(items, depth - 1)}"
        return f"{kind} ({whole['format']})" if isinstance(whole.get("format"), str) else str(kind)

    def _inner(self, schema: Any) -> dict[str, Any]:
        """Return the one schema that a value may have beside `null`; an empty one if there are several."""
        whole = self._resolved(schema)
        for several in ("anyOf", "oneOf"):
            if isinstance(choices := whole.get(several), list):
                resolved = [self._resolved(each) for each in cast("list[Any]", choices)]
                others = [each for each in resolved if each.get("type") != "null"]
                return others[0] if len(others) == 1 else {}
        return whole

    def _resolved(self, schema: Any) -> dict[str, Any]:
        """Return a schema with what its reference leads to. What it says beside the reference stands."""
        whole = cast("dict[str, Any]", schema) if isinstance(schema, dict) else {}
        for _ in range(_MOST_REFERENCES):
            if not isinstance(reference := whole.get("$ref"), str):
                break
            beside = {name: value for name, value in whole.items() if name != "$ref"}
            found = self._definitions.get(reference.rpartition("/")[2])
            whole = {**(cast("dict[str, Any]", found) if isinstance(found, dict) else {}), **beside}
        return whole
