"""References to secrets in the parameters of AuthSessions: what is one, and what is refused."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from callboard.schemas.rest.login_parameters import LoginParameters, references_in, with_references_replaced

ADAPTER: TypeAdapter[dict[str, Any]] = TypeAdapter(LoginParameters)


@pytest.mark.parametrize("reference", ["SHOP_KEY", "_1", "file:password", "file:a/b.c", "vault:a/b#c", "vault:a#b-c"])
def test_what_is_a_reference_is_found_at_any_depth_and_replaced(reference: str):
    parameters = {"a": 1, "b": [{"c": {"$secret": reference}}], "d": {"$secret": "OTHER"}}
    assert ADAPTER.validate_python(parameters) == parameters
    assert set(references_in(parameters)) == {reference, "OTHER"}
    assert with_references_replaced(parameters, str.lower) == {"a": 1, "b": [{"c": reference.lower()}], "d": "other"}


@pytest.mark.parametrize(
    "reference",
    [
        *("", "lower", "A-B", "A B", "file:", "file:/etc/passwd", "file:../x", "file:a/../b", "file:a//b", "file:.x"),
        *("vault:a", "vault:a#", "vault:#b", "vault:a/../b#c", "vault:a?b#c", "vault:a%2e#c", "env:A", "file:a\n"),
        *(7, None, ["A"], {"$secret": "A"}),
    ],
)
def test_what_looks_like_one_and_is_none_is_refused(reference: Any):
    with pytest.raises(ValidationError, match="environment variable"):
        ADAPTER.validate_python({"a": {"$secret": reference}})


@pytest.mark.parametrize("parameters", [{"a": {"$secret": "A", "b": 1}}, {"$secret": "A"}])
def test_a_reference_stands_alone_in_place_of_a_value(parameters: Any):
    with pytest.raises(ValidationError):
        ADAPTER.validate_python(parameters)


def test_there_are_not_too_many():
    with pytest.raises(ValidationError, match="at most 50"):
        ADAPTER.validate_python({"all": [{"$secret": "A"}] * 51})
