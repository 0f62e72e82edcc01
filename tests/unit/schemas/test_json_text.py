"""JSON that was sent: how many values it may have, and what costs little however much of it there is."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from callboard.schemas.errors import BadRequest, PayloadTooLarge
from callboard.schemas.rest import auth_sessions, env_vars, jobs, keys, start_request
from callboard.schemas.rest.base import RequestModel
from callboard.schemas.rest.json_text import MAX_VALUES, parse_json, validate_body

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("unit", "values"),
    [("0", 1), ("[]", 2), ("{}", 2), ('{"a":[0, 1 ]}', 4), ('"a,[{\\",[\\\\"', 1), ('{"a,b":",,"}', 2)],
)
def test_only_so_many_values_are_parsed_and_what_is_in_texts_is_none(unit: str, values: int):
    fitting = (MAX_VALUES - 1) // values  # the list around them is a bracket, too
    assert len(parse_json(f"[{','.join([unit] * fitting)}]".encode())) == fitting
    with pytest.raises(PayloadTooLarge, match="more than 250,000 values"):
        parse_json(f"[{','.join([unit] * (MAX_VALUES // values + 1))}]".encode())


@pytest.mark.parametrize(
    "text", ['"' + '\\"' * MIB, '"' + "\\u00e9" * MIB + '"}', '"' * 8 * MIB, "]" * 8 * MIB, "\\" * MIB]
)
def test_what_is_no_json_is_refused_in_time_whatever_it_is(text: str):
    """Whoever looked for values from each place on anew would take hours."""
    with pytest.raises(BadRequest, match="not JSON"):
        parse_json(text.encode())


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"a": {"b": 1, "b": 2}, "a": 1}', "a"),
        ('{"a": 1e999, "a": 2}', "a"),
        ('[{"a": [0, {"b": 1, "b": 2}]}, {"c": 1, "c": 2}]', "[0].a[1].b"),
        ('{"a": [1.0, 1e999]}', "a[1]"),
    ],
)
def test_what_parsers_disagree_on_is_found_wherever_it_is(text: str, path: str):
    with pytest.raises(BadRequest) as refused:
        parse_json(text.encode())
    assert (refused.value.details or {})["path"] == path


def models_below(model: type[BaseModel]) -> list[type[BaseModel]]:
    return [below for child in model.__subclasses__() for below in (child, *models_below(child))]


def schemas_in(schema: Any) -> Iterator[dict[str, Any]]:
    """All parts of what pydantic makes of a model."""
    if isinstance(schema, dict):
        yield schema
        schema = [*schema.values()]
    if isinstance(schema, list | tuple):
        for part in schema:
            yield from schemas_in(part)


def test_pydantic_stops_at_the_first_error_of_every_list_that_is_sent():
    """Each error takes a kilobyte, and a body has room for hundreds of thousands of wrong items."""
    models = models_below(RequestModel)
    assert {jobs.UpdateJob, start_request.StartRequest, keys.CreateKey} <= {*models}
    for model in models:
        for part in schemas_in(model.__pydantic_core_schema__):
            items = part.get("items_schema") or part.get("values_schema") or {"type": "any"}
            if part.get("type") in ("list", "dict") and items["type"] != "any":
                assert part.get("fail_fast"), f"{model.__name__}: {part}"


@pytest.mark.parametrize(
    ("model", "body", "path"),
    [
        (jobs.UpdateJob, {"payload": [{}] * 100_000, "configuration": {}}, "payload[0].apiName"),
        (jobs.UpdateJob, {f"field{number}": 1 for number in range(101)}, ""),
        (jobs.UpdateJob, {"payload": [], "configuration": {}, "notifications": [1] * 101}, "notifications"),
        (
            auth_sessions.ImportAuthSession,
            {"state": {"cookies": [{}] * 100_000, "origins": []}},
            "state.cookies[0].name",
        ),
        (env_vars.SetVariable, {"value": "", "scopes": [1] * 100_000}, "scopes"),
    ],
)
def test_few_errors_are_listed_of_a_body_that_is_full_of_them(model: type[BaseModel], body: dict[str, Any], path: str):
    with pytest.raises(BadRequest) as refused:
        validate_body(model, body)
    details = refused.value.details or {}
    assert details["path"] == path
    assert len(json.dumps(details)) < 2_000
    assert "more, see details.errors" not in refused.value.message or len(details["errors"]) < 20
