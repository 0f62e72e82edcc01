"""What is wrong with a request, in the contract's words: the field's path, and what was expected there."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError

from schemas.errors import BadRequest
from schemas.rest.base import EXPECTED
from schemas.rest.sink import NO_SUCH_KIND
from schemas.workflow.base import clip

_MOST = 20
"""Problems that one answer lists; a longer list helps nobody."""

_PATH_LIMIT = 200

Location = Sequence[int | str]


def bad_field(path: str, expected: str, message: str | None = None) -> BadRequest:
    """Return the error for one field; `message` defaults to both in a sentence."""
    path = clip(path, _PATH_LIMIT)
    details = {"path": path, "expected": expected, "errors": [{"path": path, "expected": expected}]}
    return BadRequest(message or _sentence(path, expected), details=details)


def bad_request(error: ValidationError, model: type[BaseModel]) -> BadRequest:
    """Return the error for all that `model` refused; no value that was given is repeated."""
    return bad_lines(error.errors(include_url=False, include_input=False), model)


def bad_lines(lines: Sequence[Mapping[str, Any]], model: type[BaseModel] | None = None) -> BadRequest:
    """Return the error for all in pydantic's own list of errors."""
    problems = [_problem(line, model) for line in lines[:_MOST]]
    first = problems[0]
    message = _sentence(first["path"], first["expected"])
    if lines[0]["type"] == "extra_forbidden":
        message = f"There is no field {first['path']}{_perhaps(lines[0]['loc'], model)}. Expected {first['expected']}."
    more = len(lines) - 1
    if more:
        message += f" And {more} more, see details.errors."
    return BadRequest(message, details={**first, "errors": problems})


def path_of(location: Location) -> str:
    """`("sink", "apisToSend", 0)` as `sink.apisToSend[0]`."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return clip(path, _PATH_LIMIT)


def _problem(line: Mapping[str, Any], model: type[BaseModel] | None) -> dict[str, str]:
    location: Location = line["loc"]
    path = path_of(_follow(model, location)[0])
    match line["type"]:
        case kind if kind == NO_SUCH_KIND:
            return {"path": f"{path}.type", "expected": 'a kind of sink, "webhook" or "s3"'}
        case "extra_forbidden":
            return {"path": path, "expected": _one_of(_known(location, model))}
        case "missing":
            return {"path": path, "expected": "a value: this field is required"}
        case "model_type" | "model_attributes_type" | "dict_type":
            return {"path": path, "expected": "an object"}
        case "list_type":
            return {"path": path, "expected": "an array"}
        case kind if kind == EXPECTED:
            return {"path": path, "expected": line["ctx"]["expected"]}
        case _:  # not pydantic's message: some repeat what was given
            return {"path": path, "expected": "another value"}


def _follow(model: type[BaseModel] | None, location: Location) -> tuple[list[int | str], list[str]]:
    """Return the location without what pydantic puts into it, and the names that the object at its end may hold.

    Behind a field with several shapes pydantic puts the shape's tag, which is no part of the path.
    """
    path: list[int | str] = []
    here: Any = model
    for part in location:
        shapes = list(_shapes(here))
        if chosen := [shape for tag, shape in shapes if tag is not None and tag == part]:
            here = chosen[0]
            continue
        path.append(part)
        if not isinstance(part, int):
            here = next((annotation for name, annotation in _fields(shapes) if name == part), None)
    return path, [name for name, _ in _fields(list(_shapes(here)))]


def _shapes(annotation: Any) -> Iterator[tuple[str | None, type[BaseModel]]]:
    """Return the models in an annotation, each with its tag."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield None, annotation
        return
    of_tag = next((item.tag for item in get_args(annotation)[1:] if isinstance(item, Tag)), None)
    inner = get_args(annotation)[:1] if get_origin(annotation) is Annotated else get_args(annotation)
    for item in inner:
        for tag, shape in _shapes(item):
            yield tag or of_tag, shape


def _fields(shapes: Sequence[tuple[str | None, type[BaseModel]]]) -> Iterator[tuple[str, Any]]:
    for _, shape in shapes:
        for name, field in shape.model_fields.items():
            yield field.alias or name, field.annotation


def _known(location: Location, model: type[BaseModel] | None) -> list[str]:
    return _follow(model, location[:-1])[1]


def _one_of(fields: Sequence[str]) -> str:
    return f"one of the fields {', '.join(fields)}" if fields else "only known fields"


def _perhaps(location: Location, model: type[BaseModel] | None) -> str:
    alike = difflib.get_close_matches(str(location[-1])[:_PATH_LIMIT], _known(location, model), n=1)
    return f"; perhaps {alike[0]} is meant" if alike else ""


def _sentence(path: str, expected: str) -> str:
    return f"{path}: expected {expected}." if path else f"Expected {expected}."
