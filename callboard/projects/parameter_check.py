"""Checking schemas that code of projects has made, and checking parameters by them. Both may be hostile.

A schema is data of a stranger: its references lead to its own definitions, and its size is limited. Parameters are
checked by the keywords that need bounded time for each value, and a check makes a limited number of steps, as a schema
can have the same value looked at any number of times. So `pattern` is not checked: no engine bounds the time of all
patterns. Nor is `format`, which describes in this version of JSON Schema, and does not assert.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice
from typing import Any, NoReturn, cast

import jsonschema.exceptions
import jsonschema.validators
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry

from callboard.schemas.workflow.base import clip

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_LARGEST = 64 * 1024
"""Most characters of what is read of one schema."""
_DEEPEST = 40
"""Most levels of objects and arrays in a schema."""
_MOST_STEPS = 600_000
"""Most steps of one check, of which each takes two to six microseconds. Parameters of 1 MiB mostly need fewer."""
_STEPS = {"$ref": 10, "allOf": 3, "not": 3}
"""Steps for which keywords count that take longer than others."""
_MOST_ERRORS = 20
_MOST_NAMED = 10
"""Most values that an error names of those that are expected."""
_LEADS_AWAY = frozenset({"$id", "id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef", "$vocabulary"})
"""Keywords with a text by which a reference could mean something else than its text says."""
_REFERENCE = re.compile(r"#/\$defs/([A-Za-z0-9_.-]+)")
"""References whose text means what it says: nothing in it is escaped."""


class SchemaError(Exception):
    """There is no schema, and why: the message is the end of a sentence."""


@dataclass(frozen=True)
class WrongParameter:
    """A parameter that is not what the schema says. Neither text repeats a value that was given."""

    path: tuple[str | int, ...]
    """Names and places that lead to it; empty for the parameters as a whole."""
    expected: str


class _TooManySteps(Exception):  # noqa: N818  # it ends a check
    pass


def read_json(text: str) -> Any:
    """Return the value of JSON text. Raises SchemaError if it is none, or too large."""
    if len(text) > _LARGEST:
        raise SchemaError(f"its schema has more than {_LARGEST // 1024} KiB")
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise SchemaError("the code has written what is not JSON") from error


def check_schema(schema: Any, *, of_object: bool = True) -> dict[str, Any]:
    """Return a schema if it is one, with no reference that leads out of it. Raises SchemaError if not.

    With `of_object`, which is so for parameters, it must be one of an object.
    """
    if not isinstance(schema, dict):
        raise SchemaError("its schema is not an object")
    whole = cast("dict[str, Any]", schema)
    definitions = whole.get("$defs", {})
    known = cast("dict[str, Any]", definitions) if isinstance(definitions, dict) else {}
    if whole.get("$schema", DIALECT) != DIALECT or (of_object and whole.get("type", "object") != "object"):
        kind = "one of an object, in" if of_object else "in"
        raise SchemaError(f"its schema is not {kind} JSON Schema 2020-12")
    _check_part({name: part for name, part in whole.items() if name != "$schema"}, known, 1)
    try:
        Draft202012Validator.check_schema(whole, format_checker=FormatChecker(formats=()))
    except jsonschema.exceptions.SchemaError as error:
        where = "/".join(map(str, error.absolute_path))
        raise SchemaError(f"its schema is not valid at {clip(where, 100) or 'its root'}") from error
    return whole


def unchecked_keywords(schema: Any) -> set[str]:
    """Return the keywords of a schema by which parameters are not checked."""
    if isinstance(schema, list):
        return {name for part in cast("list[Any]", schema) for name in unchecked_keywords(part)}
    if not isinstance(schema, dict):
        return set()
    members = cast("dict[str, Any]", schema)
    texts = {name for name in ("pattern", "format") if isinstance(members.get(name), str)}
    others = {name for name in members if name in Draft202012Validator.VALIDATORS and name not in _KEYWORDS}
    return texts | others - {"pattern", "format"} | {n for part in members.values() for n in unchecked_keywords(part)}


def wrong_parameters(schema: Mapping[str, Any], parameters: Any) -> list[WrongParameter]:
    """Return what is wrong with parameters by a schema of `check_schema`: up to twenty places. This blocks."""
    left = _steps_left.set([_MOST_STEPS])
    try:
        validator = _Validator(schema, registry=_NOTHING_ELSE)
        errors: Iterator[jsonschema.exceptions.ValidationError] = validator.iter_errors(parameters)
        found = list(islice(errors, _MOST_ERRORS))
        return [WrongParameter(*_describe(error)) for error in found]
    except (_TooManySteps, RecursionError, OverflowError):
        return [WrongParameter((), "fewer or simpler values: to check these takes too long")]
    finally:
        _steps_left.reset(left)


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


def _check_part(part: Any, definitions: Mapping[str, Any], depth: int) -> None:
    if depth > _DEEPEST:
        raise SchemaError(f"its schema has more than {_DEEPEST} levels")
    if isinstance(part, str):
        try:
            part.encode()
        except UnicodeEncodeError as error:
            raise SchemaError("its schema has a text that is not Unicode") from error
    elif isinstance(part, list):
        for each in cast("list[Any]", part):
            _check_part(each, definitions, depth + 1)
    elif isinstance(part, dict):
        for name, value in cast("dict[str, Any]", part).items():
            _check_part(name, definitions, depth)
            if name == "$ref" and isinstance(value, str):
                found = _REFERENCE.fullmatch(value)
                if found is None or found[1] not in definitions:
                    raise SchemaError("its schema has a reference that does not lead to a definition of its own")
            elif name in {*_LEADS_AWAY, "$schema"} and isinstance(value, str):
                raise SchemaError(f"its schema has {name}, which could lead out of it")
            _check_part(value, definitions, depth + 1)


_steps_left: ContextVar[list[int]] = ContextVar("steps_left")


def _spend(steps: int) -> None:
    left = _steps_left.get()
    left[0] -= steps
    if left[0] < 0:
        raise _TooManySteps


_Errors = Iterator[jsonschema.exceptions.ValidationError]


def _spend_on(value: Any) -> None:
    """Count a step for each part of a value that is read as a whole, and one for each 64 characters."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        _spend(1 + len(part) // 64 if isinstance(part, str) else 1)
        if isinstance(part, list):
            waiting.extend(cast("list[Any]", part))
        elif isinstance(part, dict):
            waiting.extend(each for member in cast("dict[str, Any]", part).items() for each in member)


def _counted(name: str) -> Callable[..., _Errors]:
    keyword, steps = Draft202012Validator.VALIDATORS[name], _STEPS.get(name, 1)

    def check(validator: Any, value: Any, instance: Any, schema: Any) -> _Errors:
        _spend(steps)
        match name:
            case "items" | "prefixItems" | "propertyNames" if isinstance(instance, list | dict):
                _spend(len(cast("list[Any] | dict[str, Any]", instance)))  # also where nothing is said of them
            case "properties":
                _spend(len(value))
            case "const" | "enum":
                _spend_on(value)
            case _:
                pass
        for error in keyword(validator, value, instance, schema):
            if not isinstance(error.validator, str):  # It is new, and the library has put the value into its message.
                error.message, error.args = "", ()
                _spend_on(instance)
            yield error

    return check


def _reasons(validator: Any, choice: Any, instance: Any) -> list[jsonschema.exceptions.ValidationError]:
    """Return why a value is not one of the choices: some reasons, as there may be one for each item."""
    errors: _Errors = validator.descend(instance, choice)
    return list(islice(errors, _MOST_ERRORS))


def _any_of(validator: Any, choices: list[Any], instance: Any, _schema: Any) -> _Errors:
    _spend(3)
    reasons: list[jsonschema.exceptions.ValidationError] = []
    for choice in choices:
        found = _reasons(validator, choice, instance)
        if not found:
            return
        reasons += found
    yield jsonschema.exceptions.ValidationError("", context=reasons)


def _one_of(validator: Any, choices: list[Any], instance: Any, _schema: Any) -> _Errors:
    _spend(3)
    found = [_reasons(validator, choice, instance) for choice in choices]
    fitting = sum(not reasons for reasons in found)
    if fitting != 1:
        context = () if fitting else [reason for reasons in found for reason in reasons]
        yield jsonschema.exceptions.ValidationError("", context=context)


def _required(_validator: Any, names: list[str], instance: Any, _schema: Any) -> _Errors:
    _spend(len(names))
    for name in names if isinstance(instance, dict) else ():
        if name not in instance:
            yield jsonschema.exceptions.ValidationError("", path=[name])


def _additional_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> _Errors:
    """As the library has it, but without regard to patterns, and with the path of each property."""
    if not isinstance(instance, dict) or "patternProperties" in schema:
        return
    members, known = cast("dict[str, Any]", instance), schema.get("properties", {})
    _spend(1 + len(members) + len(known))
    for name in members.keys() - known.keys():
        if allowed is False:
            yield jsonschema.exceptions.ValidationError("", path=[name])
        else:
            yield from validator.descend(members[name], allowed, path=name)


def _unique_items(_validator: Any, unique: bool, instance: Any, _schema: Any) -> _Errors:  # noqa: FBT001
    if unique and isinstance(instance, list):
        items = cast("list[Any]", instance)
        _spend_on(items)
        if len({json.dumps(item, sort_keys=True) for item in items}) < len(items):
            yield jsonschema.exceptions.ValidationError("")


_KEYWORDS: dict[str, Any] = {
    **{
        name: _counted(name)
        for name in (
            "$ref", "allOf", "const", "enum", "exclusiveMaximum", "exclusiveMinimum", "items", "maxItems",
            "maxLength", "maxProperties", "maximum", "minItems", "minLength", "minProperties", "minimum", "multipleOf",
            "not", "prefixItems", "properties", "propertyNames", "type",
        )
    },
    "additionalProperties": _additional_properties,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "required": _required,
    "uniqueItems": _unique_items,
}  # fmt: skip
"""The keywords by which parameters are checked. All others describe only."""

_NOTHING_ELSE: Registry[Any] = Registry()
"""The schemas that references may lead to beside a schema's own definitions: none. The library would fetch them."""

_Validator: Any = jsonschema.validators.create(  # pyright: ignore[reportUnknownMemberType]
    meta_schema=Draft202012Validator.META_SCHEMA, validators=_KEYWORDS
)


def _describe(error: jsonschema.exceptions.ValidationError) -> tuple[tuple[str | int, ...], str]:
    """Return the path of an error, and what was expected there."""
    path: tuple[str | int, ...] = tuple(error.absolute_path)
    value: Any = error.validator_value
    match error.validator:
        case "anyOf" | "oneOf" if error.context:
            return _describe_choice(error)
        case "required":
            return path, "a value: this parameter is required"
        case "additionalProperties":
            known = _names(cast("Mapping[str, Any]", error.schema).get("properties", {}))
            return path, f"one of the names {known}" if known else "no parameter of this name"
        case "type":
            kinds = cast("list[str]", value if isinstance(value, list) else [value])
            return path, " or ".join(_TYPES.get(kind, "another value") for kind in kinds)
        case "enum":
            return path, f"one of {_values(value)}"
        case "const":
            return path, _values([value])
        case "uniqueItems":
            return path, "no item twice"
        case "propertyNames":
            return path, "other names in this object"
        case str(keyword) if keyword in _BOUNDS:
            return path, _BOUNDS[keyword].format(value)
        case _:
            return path, "another value"


def _describe_choice(error: jsonschema.exceptions.ValidationError) -> tuple[tuple[str | int, ...], str]:
    """Say that a value fits none of several schemas: what each expects, or what is missing for the nearest one."""
    at = error.absolute_path
    reasons = list(error.context or ())
    inside = [reason for reason in reasons if len(reason.absolute_path) > len(at)]
    if inside:
        return _describe(max(inside, key=lambda reason: len(reason.absolute_path)))
    return tuple(at), clip(" or ".join(dict.fromkeys(_describe(reason)[1] for reason in reasons)), 300)


_TYPES = {
    "object": "an object",
    "array": "an array",
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}
_BOUNDS = {
    "minimum": "a number of at least {}",
    "maximum": "a number of at most {}",
    "exclusiveMinimum": "a number greater than {}",
    "exclusiveMaximum": "a number less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "a string of at least {} characters",
    "maxLength": "a string of at most {} characters",
    "minItems": "an array of at least {} items",
    "maxItems": "an array of at most {} items",
    "minProperties": "an object of at least {} members",
    "maxProperties": "an object of at most {} members",
}


def _values(values: list[Any]) -> str:
    """Return values of a schema, for people."""
    shown = [json.dumps(value, ensure_ascii=False) for value in values[:_MOST_NAMED]]
    return clip(", ".join([*shown, *(["…"] if len(values) > _MOST_NAMED else [])]), 300)


def _names(properties: Mapping[str, Any]) -> str:
    return clip(", ".join(islice(properties, _MOST_NAMED)) + (", …" if len(properties) > _MOST_NAMED else ""), 300)
