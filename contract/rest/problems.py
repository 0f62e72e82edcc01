"""What is wrong with a request, in the contract's words: the field's path, and what was expected there."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from contract.errors import BadRequest
from contract.flow.base import clip
from contract.rest.auth_session import RuntimeAuthSession, StoredAuthSession
from contract.rest.base import EXPECTED, RequestModel
from contract.rest.sink import NO_SUCH_KIND, S3Sink, WebhookSink
from contract.rest.start import Retry, StartRequest

_MOST = 20
"""Problems that one answer lists; a longer list helps nobody."""

_PATH_LIMIT = 200

_UNIONS = ("sink", "authSession")
"""Fields with several shapes: pydantic puts the shape's tag behind them, which is no part of the path."""

_MODELS: Mapping[tuple[int | str, ...], type[RequestModel]] = {
    (): StartRequest,
    ("retry",): Retry,
    ("sink", "webhook"): WebhookSink,
    ("sink", "s3"): S3Sink,
    ("authSession", "stored"): StoredAuthSession,
    ("authSession", "runtime"): RuntimeAuthSession,
}


def bad_field(path: str, expected: str, message: str | None = None) -> BadRequest:
    """The error for one field; `message` defaults to both in a sentence."""
    path = clip(path, _PATH_LIMIT)
    details = {"path": path, "expected": expected, "errors": [{"path": path, "expected": expected}]}
    return BadRequest(message or _sentence(path, expected), details=details)


def bad_request(error: ValidationError) -> BadRequest:
    """The error for all that a model of `contract.rest` refused; no value that was given is repeated."""
    return bad_lines(error.errors(include_url=False, include_input=False))


def bad_lines(lines: Sequence[Mapping[str, Any]]) -> BadRequest:
    """The same, from pydantic's own list of errors."""
    problems = [_problem(line) for line in lines[:_MOST]]
    first = problems[0]
    message = _sentence(first["path"], first["expected"])
    if lines[0]["type"] == "extra_forbidden":
        message = f"There is no field {first['path']}{_perhaps(lines[0]['loc'])}. Expected {first['expected']}."
    more = len(lines) - 1
    if more:
        message += f" And {more} more, see details.errors."
    return BadRequest(message, details={**first, "errors": problems})


def path_of(location: Sequence[int | str]) -> str:
    """`("sink", "s3", "apisToSend", 0)` as `sink.apisToSend[0]`."""
    path = ""
    for position, part in enumerate(location):
        if position == 1 and location[0] in _UNIONS:
            continue
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return clip(path, _PATH_LIMIT)


def _problem(line: Mapping[str, Any]) -> dict[str, str]:
    location: tuple[int | str, ...] = line["loc"]
    path = path_of(location)
    match line["type"]:
        case kind if kind == NO_SUCH_KIND:
            return {"path": f"{path}.type", "expected": 'a kind of sink, "webhook" or "s3"'}
        case "extra_forbidden":
            return {"path": path, "expected": _one_of(_known(location))}
        case "missing":
            return {"path": path, "expected": "a value: this field is required"}
        case "model_type" | "model_attributes_type" | "dict_type":
            return {"path": path, "expected": "an object"}
        case kind if kind == EXPECTED:
            return {"path": path, "expected": line["ctx"]["expected"]}
        case _:  # not pydantic's message: some repeat what was given
            return {"path": path, "expected": "another value"}


def _known(location: Sequence[int | str]) -> list[str]:
    model = _MODELS.get(tuple(location[:-1]))
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _one_of(fields: Sequence[str]) -> str:
    return f"one of the fields {', '.join(fields)}" if fields else "only known fields"


def _perhaps(location: Sequence[int | str]) -> str:
    alike = difflib.get_close_matches(str(location[-1])[:_PATH_LIMIT], _known(location), n=1)
    return f"; perhaps {alike[0]} is meant" if alike else ""


def _sentence(path: str, expected: str) -> str:
    return f"{path}: expected {expected}." if path else f"Expected {expected}."
