"""What the Playground says of the parameters that an API takes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.playground.schema_fields import parameters_skeleton, schema_fields
from callboard.storage import object_keys
from tests.support.api_in_process import Api
from tests.support.dashboard_client import Pages

STRING = {"type": "string"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "url": {"type": "string", "description": "The <shop>'s address"},
        "pages": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": 3},
        "sort": {"enum": ["price", "name"]},
        "filters": {"type": "array", "items": {"$ref": "#/$defs/Filter"}},
        "tree": {"$ref": "#/$defs/Tree", "description": "All of it"},
        "when": {"type": "string", "format": "date-time"},
        "limits": {"type": "object", "additionalProperties": {"type": "number"}},
        "any": {},
    },
    "required": ["url", "sort", "tree", "any"],
    "$defs": {
        "Filter": {"type": "object", "properties": {"brand": STRING}, "required": ["brand"]},
        "Tree": {"properties": {"name": STRING, "child": {"$ref": "#/$defs/Tree"}}, "required": ["name", "child"]},
    },
}


def test_each_field_has_a_row_and_what_contains_itself_ends():
    rows = {row.name: (row.kind, row.required, row.description, row.default) for row in schema_fields(SCHEMA)}
    assert rows["url"] == ("string", True, "The <shop>'s address", None)
    assert rows["pages"] == ("integer or null", False, "", "3")
    assert rows["sort"] == ('"price" or "name"', True, "", None)
    assert rows["filters"] == ("array of object", False, "", None)
    assert rows["filters[].brand"] == ("string", True, "", None)
    assert rows["tree"] == ("any value", True, "All of it", None)
    assert rows["tree.child"] == ("any value", True, "", None)
    assert "tree.child.name" not in rows
    assert rows["when"] == ("string (date-time)", False, "", None)
    assert rows["limits.*"] == ("number", False, "", None)


@pytest.mark.parametrize(
    ("field", "control", "choices"),
    [
        ({"type": "string"}, "text", ()),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "number", ()),
        ({"type": "boolean"}, "checkbox", ()),
        ({"enum": ["price", 3]}, "select", ('"price"', "3")),
        ({"type": "string", "format": "date"}, "date", ()),
        ({"type": "array"}, None, ()),
    ],
)
def test_a_field_is_edited_as_what_it_takes(field: dict[str, Any], control: str | None, choices: tuple[str, ...]):
    (row, *_) = schema_fields({"properties": {"it": field}})
    assert (row.control, row.choices) == (control, choices)


def test_what_its_name_says_is_secret_is_not_shown():
    assert [row.control for row in schema_fields({"properties": {"apiKey": STRING}})] == ["password"]


def test_the_beginning_has_what_is_required():
    assert json.loads(parameters_skeleton(SCHEMA)) == {
        "url": "",
        "sort": "price",
        "tree": {"name": "", "child": {"name": "", "child": {"name": "", "child": {"name": "", "child": {}}}}},
        "any": None,
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
        {"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}},
        {"properties": {"a": True}, "required": ["a", "missing"]},
        {"properties": {f"f{n}": STRING for n in range(10_000)}, "required": []},
        {"anyOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}] * 3}}},
    ],
)
def test_odd_schemas_are_shown_as_far_as_that_goes(schema: dict[str, Any]):
    assert len(schema_fields(schema)) <= 100
    json.loads(parameters_skeleton(schema))


async def test_the_page_shows_fields_and_docstring_and_begins_with_the_required(api: Api, pages: Pages):
    version = (await api.ask(""))["version"]
    content = {"apis": {"products/details": {"docstring": "Reads <one>.", "inputSchema": SCHEMA}}}
    key = object_keys.input_schemas("shop", version)
    before = await api.store.get(key)
    assert before is not None
    await api.store.put(key, json.dumps(content).encode())
    try:
        text = (await pages.get("/projects/shop/playground?api=products/details")).text
    finally:
        await api.store.put(key, before)
    assert "Reads &lt;one&gt;." in text
    assert "The &lt;shop&gt;&#39;s address" in text
    assert "filters[].brand" in text
    assert "&#34;sort&#34;: &#34;price&#34;" in text


async def test_a_login_has_fields_for_its_parameters(api: Api, pages: Pages):
    manifest = await api.services.catalog.get_current("members")
    assert manifest is not None
    schema = {"type": "object", "properties": {"user": {"type": "string"}, "password": {"type": "string"}}}
    key = object_keys.input_schemas("members", manifest.version)
    before = await api.store.get(key)
    assert before is not None
    await api.store.put(key, json.dumps({"apis": {"auth-sessions/create": {"inputSchema": schema}}}).encode())
    try:
        text = (await pages.get("/projects/members/auth-sessions")).text
    finally:
        await api.store.put(key, before)
    assert 'aria-label="user" type="text" data-parameter="user"' in text
    assert 'aria-label="password" type="password" data-parameter="password"' in text
