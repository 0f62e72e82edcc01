"""Errors about the fields of a request: the path of each field, and what was expected there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError

from callboard.schemas.errors import BadRequest
from callboard.schemas.rest.base import EXPECTED
from callboard.schemas.rest.sink import UNKNOWN_SINK_TYPE
from callboard.schemas.suggestion import did_you_mean
from callboard.schemas.workflow.base import clip

_MAX_ERRORS = 20
"""The maximum number of fields that one answer lists."""

_PATH_LIMIT = 200

Location = Sequence[int | str]


def field_error(path: str, expected: str, message: str | None = None) -> BadRequest:
    """Return the error for one field; `message` defaults to both in a sentence."""
    path = clip(path, _PATH_LIMIT)
    details = {"path": path, "expected": expected, "errors": [{"path": path, "expected": expected}]}
    return BadRequest(message or _sentence(path, expected), details=details)


def validation_error(error: ValidationError, model: type[BaseModel], *at: int | str) -> BadRequest:
    """Return the error for all fields that were refused. It repeats no value of the request.

    Args:
        error: What pydantic found.
        model: The model of the body.
        at: Where in the body the part is that was validated; nothing for the whole.
    """
    lines = error.errors(include_url=False, include_input=False)
    return field_errors([{**line, "loc": (*at, *line["loc"])} for line in lines], model)


def field_errors(lines: Sequence[Mapping[str, Any]], model: type[BaseModel] | None = None) -> BadRequest:
    """Return the error for all fields in pydantic's list of errors."""
    errors = [_field_error(line, model) for line in lines[:_MAX_ERRORS]]
    first = errors[0]
    message = _sentence(first["path"], first["expected"])
    if lines[0]["type"] == "extra_forbidden":
        location: Location = lines[0]["loc"]
        suggestion = did_you_mean(str(location[-1]), _known_fields(location, model))
        message = f"There is no field {first['path']}.{suggestion} Expected {first['expected']}."
    return _errors(errors, message, len(lines))


def errors_at(found: Sequence[tuple[Location, str]]) -> BadRequest:
    """Return the error for several fields, each with what was expected there."""
    errors = [{"path": path_of(location), "expected": expected} for location, expected in found[:_MAX_ERRORS]]
    return _errors(errors, _sentence(errors[0]["path"], errors[0]["expected"]), len(found))


def _errors(listed: list[dict[str, str]], message: str, count: int) -> BadRequest:
    """Return the error with these fields, the first of which `message` is about, out of `count` fields."""
    if count > 1:
        message += f" And {count - 1} more, see details.errors."
    return BadRequest(message, details={**listed[0], "errors": listed})


def path_of(location: Location) -> str:
    """Return the path of a location: `sink.apisToSend[0]` for `("sink", "apisToSend", 0)`."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return clip(path, _PATH_LIMIT)


def _field_error(line: Mapping[str, Any], model: type[BaseModel] | None) -> dict[str, str]:
    location: Location = line["loc"]
    path = path_of(_resolve(model, location)[0])
    match line["type"]:
        case error_type if error_type == UNKNOWN_SINK_TYPE:
            return {"path": f"{path}.type", "expected": 'a kind of sink, "webhook" or "s3"'}
        case "extra_forbidden":
            fields = ", ".join(_known_fields(location, model))
            return {"path": path, "expected": f"one of the fields {fields}" if fields else "only known fields"}
        case "missing":
            return {"path": path, "expected": "a value: this field is required"}
        case "model_type" | "model_attributes_type" | "dict_type":
            return {"path": path, "expected": "an object"}
        case "list_type":
            return {"path": path, "expected": "an array"}
        case error_type if error_type == EXPECTED:
            return {"path": path, "expected": line["ctx"]["expected"]}
        case _:  # not pydantic's message: some repeat what was given
            return {"path": path, "expected": "another value"}


def _resolve(model: type[BaseModel] | None, location: Location) -> tuple[list[int | str], list[str]]:
    """Return the location without what pydantic puts into it, and the names that the object at its end may hold.

    Behind a field with several shapes pydantic puts the shape's tag, which is no part of the path.
    """
    path: list[int | str] = []
    annotation: Any = model
    for part in location:
        models = list(_models_in(annotation))
        if chosen := [model_class for tag, model_class in models if tag is not None and tag == part]:
            annotation = chosen[0]
            continue
        path.append(part)
        if not isinstance(part, int):
            annotation = next((annotation for name, annotation in _fields_of(models) if name == part), None)
    return path, [name for name, _ in _fields_of(list(_models_in(annotation)))]


def _models_in(annotation: Any) -> Iterator[tuple[str | None, type[BaseModel]]]:
    """Yield the models in an annotation, each with its tag."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield None, annotation
        return
    tag_here = next((item.tag for item in get_args(annotation)[1:] if isinstance(item, Tag)), None)
    inner = get_args(annotation)[:1] if get_origin(annotation) is Annotated else get_args(annotation)
    for item in inner:
        for tag, model_class in _models_in(item):
            yield tag or tag_here, model_class


def _fields_of(models: Sequence[tuple[str | None, type[BaseModel]]]) -> Iterator[tuple[str, Any]]:
    for _, model_class in models:
        for name, field in model_class.model_fields.items():
            yield field.alias or name, field.annotation


def _known_fields(location: Location, model: type[BaseModel] | None) -> list[str]:
    return _resolve(model, location[:-1])[1]


def _sentence(path: str, expected: str) -> str:
    return f"{path}: expected {expected}." if path else f"Expected {expected}."
