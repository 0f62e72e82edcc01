"""Schemas that code has made, and parameters that callers send: neither is trusted."""

from __future__ import annotations

import socket
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from referencing.exceptions import Unresolvable

from callboard.projects.parameter_check import (
    SchemaError,
    check_schema,
    read_json,
    unchecked_keywords,
    wrong_parameters,
)


def object_of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


NODE = {"$ref": "#/$defs/Node"}
TREE = {
    "$defs": {"Node": object_of(name={"type": "string"}, child={"anyOf": [NODE, {"type": "null"}]})},
    **object_of(tree=NODE),
}


@pytest.mark.parametrize(
    "schema",
    [
        None,
        [],
        {"type": "array"},
        {"type": "objekt"},
        {"properties": []},
        {"$schema": "https://example.com/mine"},
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "#/$defs/missing"},
        {"$ref": "#/$defs/a~1b", "$defs": {"a~1b": {}}},
        {"$ref": "#/$defs/a%20b", "$defs": {"a%20b": {}}},
        {"properties": {"a": {"$id": "https://example.com/", "$ref": "#/$defs/a"}}, "$defs": {"a": {}}},
        {"properties": {"a": {"$dynamicRef": "#a"}}},
        {"minProperties": -1},
        {"description": "\ud800"},
    ],
)
def test_what_is_no_schema_of_an_object_is_refused(schema: Any):
    with pytest.raises(SchemaError):
        check_schema(schema)


@pytest.mark.parametrize("reference", ["http://{}:{}/schema.json", "{file}", "#/$defs/missing"])
def test_a_check_fetches_no_schema_even_for_one_that_was_not_checked(tmp_path: Path, reference: str):
    (tmp_path / "schema.json").write_text('{"const": "a secret"}')
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        target = reference.format(*server.getsockname(), file=(tmp_path / "schema.json").as_uri())
        with pytest.raises(Unresolvable):
            wrong_parameters({"properties": {"a": {"$ref": target}}}, {"a": 1})
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_deep_or_long_schema_is_refused():
    deep: dict[str, Any] = {}
    for _ in range(50):
        deep = {"properties": {"a": deep}}
    with pytest.raises(SchemaError, match="levels"):
        check_schema(deep)
    with pytest.raises(SchemaError, match="KiB"):
        read_json(f'{{"schema": "{"x" * 70_000}"}}')
    for text in ("{", "[" * 50_000, '{"schema": NaN}', '{"schema": 1e999}'):
        with pytest.raises(SchemaError, match="not JSON"):
            read_json(text)


def test_a_property_may_have_the_name_of_a_keyword():
    names = ("$ref", "$id", "pattern", "format", "required", "properties")
    schema = check_schema(object_of(**{name: {"type": "string"} for name in names}))
    assert wrong_parameters(schema, dict.fromkeys(names, "x")) == []
    assert unchecked_keywords(schema) == set()


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({"type": "string"}, 3, "a string"),
        ({"type": ["integer", "null"]}, "3", "an integer or null"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "3", "an integer or null"),
        ({"enum": ["red", "blue", 1]}, "green", 'one of "red", "blue", 1'),
        ({"const": "red"}, "green", '"red"'),
        ({"minimum": 3}, 2, "a number of at least 3"),
        ({"maxLength": 2}, "long", "a string of at most 2 characters"),
        ({"minItems": 1}, [], "an array of at least 1 items"),
        ({"uniqueItems": True}, [{"a": 1, "b": 2}, {"b": 2, "a": 1}], "no item twice"),
        ({"multipleOf": 5}, 7, "a multiple of 5"),
    ],
)
def test_an_error_says_what_was_expected(schema: dict[str, Any], value: Any, expected: str):
    (wrong,) = wrong_parameters(check_schema(object_of(x=schema)), {"x": value})
    assert (wrong.path, wrong.expected) == (("x",), expected)


def test_an_error_has_the_path_of_the_parameter():
    schema = check_schema({**object_of(a={"type": "array", "items": {**object_of(b={}), "required": ["b"]}})})
    found = wrong_parameters(schema, {"a": [{"b": 1}, {"c": 1}], "d": 1})
    assert {(wrong.path, wrong.expected) for wrong in found} == {
        (("a", 1, "b"), "a value: this parameter is required"),
        (("a", 1, "c"), "one of the names b"),
        (("d",), "one of the names a"),
    }


def test_an_error_in_a_part_of_a_choice_is_that_of_the_part():
    (wrong,) = wrong_parameters(check_schema(TREE), {"tree": {"child": {"child": {"name": 3}}}})
    assert (wrong.path, wrong.expected) == (("tree", "child", "child", "name"), "a string")


MUCH_AGAIN_AND_AGAIN = {
    "$defs": {"c": {"not": {"const": ["x" * 60] * 999 + ["y"]}}},
    **object_of(x={"allOf": [{"$ref": "#/$defs/c"}] * 2000}),
}


@pytest.mark.parametrize(
    ("schema", "parameters"),
    [
        ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, {}),
        (
            {
                "$defs": {
                    "a0": {},
                    **{f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n - 1}"}] * 2} for n in range(1, 30)},
                },
                "$ref": "#/$defs/a29",
            },
            {},
        ),
        (object_of(x={"items": {"enum": list(range(1000))}}), {"x": [-1] * 1000}),
        (object_of(x={"allOf": [{"items": {}}] * 1000}), {"x": [0] * 100_000}),
        (object_of(x={"allOf": [{"propertyNames": True}] * 1000}), {"x": dict.fromkeys(map(str, range(50_000)), 0)}),
        (object_of(x={"allOf": [{"uniqueItems": True}] * 1000}), {"x": ["x" * 1_000_000]}),
        (MUCH_AGAIN_AND_AGAIN, {"x": ["x" * 60] * 1000}),
    ],
    ids=["a loop", "twice as much", "much to compare", "items", "names", "long items", "one large constant"],
)
def test_a_check_that_would_take_too_long_is_given_up(schema: dict[str, Any], parameters: Any):
    found = wrong_parameters(check_schema(schema), parameters)
    assert [wrong.expected for wrong in found] in (
        ["fewer or simpler values: to check these takes too long"],
        ["one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …"] * 20,
    )


def test_patterns_are_not_evaluated():
    patterns = {"pattern": "^(a+)+$", "patternProperties": {"^(a+)+$": {"type": "integer"}}}
    schema = check_schema(object_of(x={**patterns, "additionalProperties": False, "format": "date"}))
    evil = "a" * 64 + "!"
    assert wrong_parameters(schema, {"x": evil}) == []
    assert wrong_parameters(schema, {"x": {evil: 1}}) == []
    assert unchecked_keywords(schema) == {"pattern", "patternProperties", "format"}


def test_a_choice_that_fits_nowhere_costs_no_memory_for_each_item():
    schema = check_schema(object_of(x={"anyOf": [{"items": {"type": "string"}}, {"type": "null"}]}))
    large = check_schema(object_of(x={"oneOf": [{"allOf": [{"type": "null"}] * 2000}] * 2}))
    tracemalloc.start()
    try:
        (wrong,) = wrong_parameters(schema, {"x": [0] * 100_000})
        found = wrong_parameters(large, {"x": ["x" * 1000] * 1000})
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert ((wrong.path, wrong.expected), len(found)) == ((("x", 0), "a string"), 1)
