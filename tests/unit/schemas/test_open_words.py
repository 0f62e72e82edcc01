"""Words of later versions: no model that is read from Temporal or the store refuses one, and none changes it."""

import copy
import importlib
import json
import pickle
import pkgutil
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

import callboard.schemas.workflow
from callboard.schemas.workflow.base import FlowModel, OpenStrEnum
from callboard.schemas.workflow.run import RunStatus

LATER = "word-of-tomorrow"


def models() -> list[type[BaseModel]]:
    """All of the flow models."""
    for module in pkgutil.iter_modules(callboard.schemas.workflow.__path__):
        importlib.import_module(f"callboard.schemas.workflow.{module.name}")
    found: list[type[BaseModel]] = [FlowModel]
    for model in found:
        found += [each for each in model.__subclasses__() if each.__module__.startswith("callboard.schemas.workflow.")]
    return found[1:]


def words_in(annotation: Any) -> Iterator[Any]:
    """The types in it that are sets of words."""
    if isinstance(annotation, typing.TypeAliasType):
        annotation = annotation.__value__
    if typing.get_origin(annotation) is typing.Literal or (
        isinstance(annotation, type) and issubclass(annotation, Enum)
    ):
        yield annotation
    for inner in typing.get_args(annotation):
        if not isinstance(inner, str):
            yield from words_in(inner)


FIELDS = [
    pytest.param(field.annotation, id=f"{model.__name__}.{name}")
    for model in models()
    for name, field in model.model_fields.items()
    if any(words_in(field.annotation))
]


def test_the_models_have_the_fields_that_are_known_to_hold_words():
    names = {str(each.id) for each in FIELDS}
    known = {"RunOutcome.status", "RunError.code", "RunError.category", "RunReason.type", "AttemptInput.trace"}
    assert known | {"AttemptRecord.status", "AuthSessionView.type", "DeliveryOutcome.status"} <= names


@pytest.mark.parametrize("annotation", FIELDS)
def test_a_word_of_a_later_version_is_read_and_written_as_it_is(annotation: Any):
    field = TypeAdapter(annotation)
    for read in (field.validate_json(json.dumps(LATER)), field.validate_python(LATER)):
        assert read == LATER
        assert field.dump_json(read) == json.dumps(LATER).encode()
        assert field.dump_python(read, mode="json") == LATER


def test_a_word_of_a_later_version_is_none_that_is_known():
    later = RunStatus(LATER)
    assert not later.is_known
    assert later not in list(RunStatus)
    assert (later.value, f"{later}") == (LATER, LATER)
    assert {later: 1}[RunStatus(LATER)] == 1
    assert copy.deepcopy(later) == pickle.loads(pickle.dumps(later)) == later
    assert not RunStatus("FAILED").is_known  # the name of a member is no word
    assert all(status.is_known for status in RunStatus)
    assert list(RunStatus.__members__) == ["PENDING", "STARTED", "COMPLETED", "FAILED", "CANCELED"]


@pytest.mark.parametrize("value", [7, None, ["failed"]])
def test_what_is_no_word_is_refused(value: Any):
    with pytest.raises(ValueError, match="valid RunStatus"):
        RunStatus(value)
    assert issubclass(RunStatus, OpenStrEnum)
