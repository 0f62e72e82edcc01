"""Base classes of the REST models, and types of their fields.

Every type carries the sentence that an error says about it: `Flag` fails with "true or false", whatever it was given.
What was given is never repeated: it may be a secret.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from callboard.schemas.workflow.base import OpenStrEnum

EXPECTED = "expected"
"""Type of the errors that carry a sentence of ours, in their context's `expected`."""


_MOST_MEMBERS = 100
"""Most members of an object with known fields. Each unknown one is an error, and pydantic collects all of them."""


class RequestModel(BaseModel):
    """A part of a request. JSON types are taken as they are: "3" is no number, true is no number, 3.0 is no integer.

    Null for a field that may be absent means that it is absent (clients send their own nulls); an unknown field is
    refused, so that a typo does not become a default. Lists of parts have `FailFast`: each error takes a kilobyte, and
    a body may have hundreds of thousands of wrong items.
    """

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=False,
        serialize_by_alias=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        given = cast("dict[str, Any]", value)
        if len(given) > _MOST_MEMBERS:
            raise expected_error(f"an object with at most {_MOST_MEMBERS} fields")
        optional = {field.alias for field in cls.model_fields.values() if not field.is_required()}
        return {key: item for key, item in given.items() if item is not None or key not in optional}


class QueryModel(BaseModel):
    """The parameters of a query. An unknown one is refused, so that a typo does not list everything."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, alias_generator=to_camel)


def absent_if_none(value: object) -> bool:
    """Return whether a field of an answer is left out: `Field(default=None, exclude_if=absent_if_none)`."""
    return value is None


class ResponseModel(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
    )


def expected_error(expected: str) -> PydanticCustomError:
    """Return the error of a field that should have been `expected`."""
    return PydanticCustomError(EXPECTED, "expected {expected}", {"expected": expected})


def expects(expected: str) -> WrapValidator:
    """Return a validator whose error says `expected` whenever the field's type, bounds or validators refuse a value."""

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            if any(line["type"] == EXPECTED for line in error.errors(include_url=False, include_input=False)):
                raise  # a validator inside knows better what is wrong, or which item is
            raise expected_error(expected) from error

    return WrapValidator(validate)


def at_most(limit: int, what: str) -> BeforeValidator:
    """Return a validator of lists that refuses one with more items, before any of them is looked at."""

    def validate(value: object) -> object:
        given: object = value
        if isinstance(value, list) and len(cast("list[Any]", value)) > limit:
            raise expected_error(f"an array of at most {limit} {what}")
        return given

    return BeforeValidator(validate)


def checked(check: Callable[[str], object]) -> Callable[[str], str]:
    """Return a validator that leaves a text unchanged if `check` accepts it."""

    def validate(value: str) -> str:
        check(value)
        return value

    return validate


def require_known_value[Word: OpenStrEnum](word: Word) -> Word:
    """Refuse a word that this version does not know: what a request says must be understood."""
    if not word.is_known:
        raise ValueError(f"{word} is not known")
    return word


Flag = Annotated[bool, expects("true or false")]
AnyText = Annotated[str, expects("a text")]
Text = Annotated[str, Field(min_length=1, max_length=2048), expects("a text of 1 to 2048 characters")]
JsonObject = Annotated[dict[str, Any], expects("an object")]
ApiName = Annotated[str, Field(min_length=1, max_length=400), expects("the name of an API, its path below api/")]
RequestTimeout = Annotated[int, Field(ge=1, le=43_200), expects("a whole number of seconds from 1 to 43200")]
QueueTimeout = Annotated[int, Field(ge=1, le=604_800), expects("a whole number of seconds from 1 to 604800")]
