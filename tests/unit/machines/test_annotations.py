"""The annotation of an API's parameters as JSON Schema."""

from __future__ import annotations

import dataclasses
import enum
import uuid
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, NewType, NotRequired, Optional, Required, TypedDict

import pydantic
import pytest
from callboard_runtime.annotations import UnreadableError, parameters_schema, result_schema
from intuned_runtime import deferred_browser

from callboard.projects.parameter_check import check_schema

STRING, INTEGER = {"type": "string"}, {"type": "integer"}


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Node(TypedDict):
    """A part of a tree.

    It may have parts.
    """

    name: Annotated[str, "What it is called"]
    child: NotRequired[Node | None]


class Base(TypedDict, total=False):
    url: Required[str]
    depth: int


class Derived(Base):
    tree: Node


@dataclasses.dataclass
class Filter:
    since: datetime
    limit: int = 3
    color: Color = Color.RED
    tags: list[str] = dataclasses.field(default_factory=list[str])
    key: uuid.UUID = dataclasses.field(default_factory=uuid.uuid4)
    made: str = dataclasses.field(init=False)


class Inner(pydantic.BaseModel):
    x: int = pydantic.Field(ge=3, description="An x", alias="theX")


class Model(pydantic.BaseModel):
    inner: Inner
    itself: Model | None = None


class Older:
    """As models were before version 2 of pydantic."""

    __fields__: ClassVar[dict[str, Any]] = {}

    @classmethod
    def schema(cls, *, ref_template: str) -> dict[str, Any]:
        inner = {"type": "object", "properties": {"name": {"type": "string", "title": "Name"}}}
        properties = {"inner": {"$ref": ref_template.format(model="Inner")}}
        return {"type": "object", "properties": properties, "required": ["inner"], "definitions": {"Inner": inner}}


class Holder(TypedDict):
    model: Model
    older: Older


type Recursive = dict[str, Recursive] | int
Pounds = NewType("Pounds", float)


def schema_of(annotation: Any) -> dict[str, Any] | None:
    """The schema of an API whose parameters have this annotation, without what all have."""

    async def automation(page: Any, params: Any = None, **_kwargs: Any) -> None: ...

    automation.__annotations__["params"] = annotation
    schema = parameters_schema(automation)
    if schema is not None:
        check_schema(schema)
        assert schema.pop("$schema") == "https://json-schema.org/draft/2020-12/schema"
    return schema


def field_of(annotation: Any) -> dict[str, Any]:
    """The schema of one field."""
    schema = schema_of(TypedDict("Fields", {"field": annotation}))  # type: ignore[misc, operator]
    assert schema is not None
    return schema["properties"]["field"]


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (bool, {"type": "boolean"}),
        (float, {"type": "number"}),
        (None, {"type": "null"}),
        (Any, {}),
        (datetime, {"type": "string", "format": "date-time"}),
        (date, {"type": "string", "format": "date"}),
        (timedelta, {"type": "string", "format": "duration"}),
        (uuid.UUID, {"type": "string", "format": "uuid"}),
        (Pounds, {"type": "number"}),
        (str | None, {"anyOf": [STRING, {"type": "null"}]}),
        (Optional[int], {"anyOf": [INTEGER, {"type": "null"}]}),  # noqa: UP045  # many write it so
        (Literal["a", 1, True], {"enum": ["a", 1, True]}),
        (Literal[Color.RED], {"enum": ["red"]}),
        (list, {"type": "array"}),
        (list[int], {"type": "array", "items": INTEGER}),
        (Sequence["str"], {"type": "array", "items": STRING}),
        (set[int], {"type": "array", "uniqueItems": True, "items": INTEGER}),
        (tuple[int, ...], {"type": "array", "items": INTEGER}),
        (tuple[int, str], {"type": "array", "prefixItems": [INTEGER, STRING], "minItems": 2, "maxItems": 2}),
        (dict, {"type": "object"}),
        (Mapping[str, int], {"type": "object", "additionalProperties": INTEGER}),
        (Annotated[int, {"unhashable"}, "How many"], {"type": "integer", "description": "How many"}),
        (Annotated[int, pydantic.Field(description="How many")], {"type": "integer", "description": "How many"}),
    ],
)
def test_a_type(annotation: Any, expected: dict[str, Any]) -> None:
    assert field_of(annotation) == expected


def test_a_typed_dict_says_what_is_required_and_refers_to_itself() -> None:
    assert schema_of(Derived) == {
        "type": "object",
        "properties": {"url": STRING, "depth": INTEGER, "tree": {"$ref": "#/$defs/Node"}},
        "required": ["url", "tree"],
        "additionalProperties": False,
        "$defs": {
            "Node": {
                "type": "object",
                "description": "A part of a tree.\n\nIt may have parts.",
                "properties": {
                    "name": {"type": "string", "description": "What it is called"},
                    "child": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
                },
                "required": ["name"],
                "additionalProperties": False,
            }
        },
    }


def test_a_dataclass_has_defaults() -> None:
    assert schema_of(Filter) == {
        "type": "object",
        "properties": {
            "since": {"type": "string", "format": "date-time"},
            "limit": {"type": "integer", "default": 3},
            "color": {"$ref": "#/$defs/Color", "default": "red"},
            "tags": {"type": "array", "items": STRING, "default": []},
            "key": {"type": "string", "format": "uuid"},
        },
        "required": ["since"],
        "additionalProperties": False,
        "$defs": {"Color": {"enum": ["red", "blue"]}},
    }


def test_models_of_pydantic_are_asked_whatever_their_version_is() -> None:
    schema = schema_of(Holder)
    assert schema is not None
    definitions = schema["$defs"]
    assert definitions["Model.Inner"]["properties"]["theX"]["minimum"] == 3
    assert definitions["Model"] == {"$ref": "#/$defs/Model.Model"}
    assert definitions["Model.Model"]["properties"]["inner"] == {"$ref": "#/$defs/Model.Inner"}
    assert definitions["Older"]["properties"]["inner"] == {"$ref": "#/$defs/Older.Inner"}
    null = {"type": "null"}
    assert definitions["Older.Inner"]["properties"]["name"] == {"title": "Name", "anyOf": [STRING, null]}
    itself = schema_of(Model)
    assert itself is not None
    assert itself["$ref"] == "#/$defs/Model.Model"


def test_two_types_of_one_name_and_an_alias_that_contains_itself() -> None:
    def another() -> type[Any]:
        class Node(TypedDict):
            n: int

        return Node

    schema = schema_of(TypedDict("Both", {"one": Node, "two": another(), "more": Recursive}))  # type: ignore[misc]
    assert schema is not None
    assert schema["$defs"].keys() == {"Node", "Node_2", "Recursive"}
    assert schema["$defs"]["Recursive"]["anyOf"][0]["additionalProperties"] == {"$ref": "#/$defs/Recursive"}


@pytest.mark.parametrize("annotation", [Any, dict, dict[str, Any], Optional[dict[str, Any]], Mapping[str, Any]])  # noqa: UP045
def test_an_annotation_that_says_nothing(annotation: Any) -> None:
    assert schema_of(annotation) is None


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (Decimal, r"params: Decimal is not supported"),
        (TypedDict("Of", {"x": list[bytes]}), r"Of\.x\[\]: bytes is not supported"),
        (dict[int, str], r"params: keys are texts in JSON, and the annotation says int"),
        (list[int], r"params: parameters are an object, and the annotation says array"),
        ("Missing", r"params: the name Missing is not defined where the annotation stands"),
        ("1 /", r"params: the annotation cannot be evaluated \(SyntaxError\)"),
        (TypedDict("Of", {"x": Literal[b"x"]}), r"Of\.x: its values are not all texts"),  # type: ignore[valid-type]
    ],
)
def test_an_annotation_that_cannot_be_read_says_where_and_why(annotation: Any, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason):
        schema_of(annotation)


def test_only_the_annotation_of_the_parameters_is_evaluated() -> None:
    async def automation(page: Any, params: Base) -> None: ...

    async def without(page: Any) -> None: ...

    automation.__annotations__["page"] = without.__annotations__["page"] = "Page"  # as for type checkers alone

    @deferred_browser
    async def deferred(params: Base, ensure_browser: Any) -> None: ...

    assert parameters_schema(automation) is not None
    assert parameters_schema(without) is None
    assert parameters_schema(deferred) == parameters_schema(automation)


def test_what_a_function_returns_may_be_of_any_type() -> None:
    async def nodes(page: Any) -> list[Node]: ...

    async def tree(page: Any) -> Node: ...

    async def nothing_said(page: Any) -> Any: ...

    async def silent(page: Any): ...

    async def nobody_knows(page: Any) -> Decimal: ...

    schema = result_schema(nodes)
    assert schema is not None
    assert (schema["type"], schema["items"]) == ("array", {"$ref": "#/$defs/Node"})
    check_schema(schema, of_object=False)
    assert (result_schema(tree) or {})["properties"].keys() == {"name", "child"}
    assert result_schema(nothing_said) is None
    assert result_schema(silent) is None
    with pytest.raises(UnreadableError, match="return: Decimal is not supported"):
        result_schema(nobody_knows)
