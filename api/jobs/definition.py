"""The definition of a Job: read from a request, stored before Temporal is told of it, and shown.

A Job is sent as one JSON object or as lines (`application/x-ndjson`): all but its payload, and then an item on each
line. Lines are checked as they arrive, and none is kept: a long payload takes no more memory than a short one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from typing import Any, cast

from pydantic import ValidationError
from starlette.requests import Request

from api.dependencies import Services
from api.http.json_body import BODY_LIMIT, read_json_object, refuse_announced, too_large
from callboard.projects.job_definition import check_auth_session, check_item, discard_definition
from callboard.projects.manifest import Manifest
from callboard.schemas.errors import BadRequest, CallboardError, NotFound
from callboard.schemas.mask import MASK
from callboard.schemas.rest.base import RequestModel
from callboard.schemas.rest.field_errors import field_error, validation_error
from callboard.schemas.rest.jobs import JobHead, PayloadItem, ProxyBody, UpdateJob
from callboard.schemas.rest.json_text import parse_json_object, validate_body
from callboard.schemas.workflow.job import JobAuth, JobDefinition
from callboard.starts.lookup import check_parameters, require_auth_session
from callboard.starts.request_secrets import definitely_not_started

NDJSON = "application/x-ndjson"

JSON_LIMIT = 8 * 1024 * 1024
"""Largest Job in bytes that is sent as one JSON object."""
LIMIT = 256 * 1024 * 1024
"""Bytes of a whole Job, which goes to the artifact store as it arrives."""
ITEM_LIMIT = 256 * 1024
"""Largest item in bytes that is sent as a line."""

_Check = Callable[[PayloadItem, int], Awaitable[None]]
"""Checks an item with its number, from 0. Raises BadRequest or StoreError."""


async def read_job[Head: JobHead, Whole: JobHead](
    services: Services, manifest: Manifest, request: Request, whole: type[Whole], head: type[Head]
) -> tuple[Head | Whole, AsyncIterator[PayloadItem]]:
    """Return a Job without its payload, and the items of that, each of which is checked when it is read.

    Args:
        services: The services of the request.
        manifest: The project of the Job.
        request: The request, with JSON or with lines.
        whole: The model of the Job as JSON.
        head: The model of the first line.

    Raises:
        BadRequest: A field is wrong.
        PayloadTooLarge: The body is too large.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == NDJSON:
        refuse_announced(request, LIMIT)
        lines = _split_lines(request.stream(), first=BODY_LIMIT)
        first = await anext(lines, None)
        if first is None:
            raise field_error("", "a line with the Job, and a line for each item of its payload", "The body is empty.")
        job = _read_line(head, *first)
        return job, _items_of_lines(lines, partial(_check_item, services, manifest, job))
    body = await read_json_object(request, JSON_LIMIT)
    payload: object = body.get("payload")
    if not isinstance(payload, list):
        validate_body(whole, body)
    items = cast("list[Any]", payload)
    job = validate_body(whole, {**body, "payload": []})
    return job, items_of_json(services, manifest, job, _each(items))


async def items_of_json(
    services: Services, manifest: Manifest, head: JobHead, payload: AsyncIterable[Any]
) -> AsyncIterator[PayloadItem]:
    """Yield the items of a Job with this head. Raises BadRequest or StoreError for the first one that is wrong."""
    index = 0
    async for given in payload:
        try:
            item = PayloadItem.model_validate(given)
        except ValidationError as error:
            raise validation_error(error, UpdateJob, "payload", index) from error
        await _check_item(services, manifest, head, item, index)
        yield item
        index += 1


def items_of_lines(services: Services, manifest: Manifest, head: JobHead, lines: bytes) -> AsyncIterator[PayloadItem]:
    """Yield the items of a Job with this head, a line each. The error of one that is wrong says its line, from 1."""
    return _items_of_lines(_split_lines(_each([lines])), partial(_check_item, services, manifest, head))


async def define_job(
    services: Services, manifest: Manifest, job_id: str, head: JobHead, items: AsyncIterator[PayloadItem]
) -> JobDefinition:
    """Store the definition of a Job.

    Raises:
        BadRequest: A field is wrong; nothing is stored.
        ConfigurationError: Something must be sealed, and there is no key to seal it with.
        StoreError: The store failed.
        Unavailable: Temporal did not say whether there is the AuthSession.
    """
    check_auth_session(manifest, head)
    if head.auth_session is not None:
        try:
            await require_auth_session(services, manifest.project, head.auth_session.id)
        except NotFound as error:
            path = "auth_session.id"
            message = f"{path}: {error.message}"
            raise field_error(path, "the id of an AuthSession of the project", message) from error
    return await services.job_definer.define(manifest, job_id, head, items)


async def discard_refused(services: Services, definition: JobDefinition, error: CallboardError) -> None:
    """Delete a definition that Temporal was told of, unless the error leaves open whether a Job has it now."""
    if definitely_not_started(error):
        await discard_definition(services.store, definition.project, definition.job_id, definition.ref)


def shown_definition(definition: JobDefinition) -> dict[str, Any]:
    """Return what Jobs and JobRuns are answered with of a definition, with secrets masked."""
    return {
        "configuration": definition.configuration,
        "proxy": None if definition.proxy is None else ProxyBody(url=definition.proxy.masked_url),
        "sink": None if definition.sink is None else _without_nulls(definition.sink.masked()),
        "auth_session": None if definition.auth is None else _auth_session(definition.auth),
        "notifications": [
            {"type": "webhook", "url": webhook.url, "headers": dict.fromkeys(webhook.headers, MASK)}
            for webhook in definition.notifications
        ],
    }


def _auth_session(auth: JobAuth) -> dict[str, Any]:
    return {
        "id": auth.id,
        "checkAttempts": auth.check_attempts,
        "createAttempts": auth.create_attempts,
        "saveTrace": auth.save_trace,
        **({"lease": "exclusive"} if auth.is_exclusive else {}),
    }


def _without_nulls(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


async def _check_item(services: Services, manifest: Manifest, head: JobHead, item: PayloadItem, index: int) -> None:
    """Check an item of a payload as a start is checked. Raises BadRequest or StoreError."""
    check_item(manifest, head, item, index)
    if manifest.settings.api_access.validate_parameters:
        await check_parameters(services, manifest, item.api_name, item.parameters, "payload", index, "parameters")


async def _each[Item](items: Iterable[Item]) -> AsyncIterator[Item]:
    for item in items:
        yield item


async def _items_of_lines(lines: AsyncIterator[tuple[int, bytes]], check: _Check) -> AsyncIterator[PayloadItem]:
    """Yield the items of the lines behind the first. Raises BadRequest, which says the line, for one that is wrong."""
    index = 0
    async for number, line in lines:
        item = _read_line(PayloadItem, number, line)
        try:
            await check(item, index)
        except BadRequest as error:
            raise _in_line(error, number) from error
        yield item
        index += 1


def _read_line[Model: RequestModel](model: type[Model], number: int, line: bytes) -> Model:
    try:
        return validate_body(model, parse_json_object(line, "The line"))
    except BadRequest as error:
        raise _in_line(error, number) from error


async def _split_lines(chunks: AsyncIterable[bytes], *, first: int = ITEM_LIMIT) -> AsyncGenerator[tuple[int, bytes]]:
    """Yield the lines that are not blank, with their numbers, from 1. The first one has at most `first` bytes.

    Raises:
        PayloadTooLarge: They have more than `LIMIT` bytes.
        BadRequest: One of them is too long.
    """
    received, number, rest = 0, 0, b""
    async for chunk in chunks:
        received += len(chunk)
        if received > LIMIT:
            raise too_large(LIMIT)
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            number += 1
            _check_length(line, number, first)
            if line.strip():
                yield number, line
        _check_length(rest, number + 1, first)
    if rest.strip():
        yield number + 1, rest


def _check_length(line: bytes, number: int, first: int) -> None:
    limit = first if number == 1 else ITEM_LIMIT
    if len(line) > limit:
        expected = f"lines of at most {limit} bytes"
        raise _in_line(field_error("", expected, f"The line has more than {limit} bytes."), number)


def _in_line(error: BadRequest, number: int) -> BadRequest:
    return type(error)(f"Line {number}: {error.message}", details={**(error.details or {}), "line": number})
