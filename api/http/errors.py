"""Error handlers: every error becomes an answer of one shape (docs/contract.md, section 5.1).

`error_responses` describes these answers in the OpenAPI page.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from callboard.schemas.errors import (
    BadRequest,
    CallboardError,
    InternalServerError,
    MethodNotAllowed,
    NotFound,
    TooMany,
)
from callboard.schemas.rest.error_body import ErrorBody
from callboard.schemas.rest.field_errors import field_errors

log = logging.getLogger(__name__)


def logged_error_response(
    error: CallboardError, correlation_id: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the response that reports `error`, and log it with its cause if the server is at fault."""
    if error.status >= 500:
        log.error("%s [%s]", error.message, correlation_id, exc_info=error)
    return error_response(error, correlation_id, headers)


def error_response(error: CallboardError, correlation_id: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response that reports `error`, for callers that log it in another way."""
    body = ErrorBody.of(error, correlation_id).model_dump(exclude={"details"} if error.details is None else None)
    return JSONResponse(body, error.status, {**(headers or {}), **error_headers(error)})


def error_headers(error: CallboardError) -> dict[str, str]:
    """Return the headers that belong to `error`, for every form of answer."""
    if isinstance(error, TooMany) and error.retry_after is not None:
        return {"retry-after": str(error.retry_after)}
    return {}


def as_callboard_error(request: Request, error: Exception) -> CallboardError:
    """Return the error that a client gets for an exception.

    Parameters of the path, the query or the headers that are wrong are answered with 400: FastAPI's own answer would be
    422 and would repeat the input. Of an unexpected exception, only the log tells more.
    """
    match error:
        case CallboardError():
            return error
        case RequestValidationError():
            # The first part of a location says where the parameter stands ("query"), and is not part of the path.
            return field_errors([{**line, "loc": line["loc"][1:]} for line in error.errors()])
        case HTTPException(status_code=404):
            return NotFound("There is no such path. The API reference is at /docs.")
        case HTTPException(status_code=405):
            return MethodNotAllowed(f"This path has no method {request.method[:20]}. The API reference is at /docs.")
        case HTTPException(status_code=status) if status < 500:
            return BadRequest("The request cannot be read.")
        case _:
            return unexpected_error(error)


def unexpected_error(cause: Exception) -> InternalServerError:
    """Return the error that a client gets for an unexpected exception; only the log tells its cause."""
    error = InternalServerError(
        "Callboard failed to answer because of an internal error. Its log has the cause beside the correlationId."
    )
    error.__cause__ = cause
    return error


def install_error_handlers(app: FastAPI) -> None:
    """Make the application answer all errors in the contract's shape, those of its framework included."""
    for kind in (CallboardError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer_error)


def error_responses(*errors: type[CallboardError]) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` argument of a route that raises these errors."""
    return {error.status: {"model": ErrorBody, "description": _summary(error)} for error in errors}


def correlation_id(request: Request) -> str:
    """Return the id under which this request appears in the log; `api.http.middleware` has assigned it."""
    return str(request.state.correlation_id)


def _summary(error: type[CallboardError]) -> str:
    return (error.__doc__ or error.code).strip().splitlines()[0]


def answer_error(request: Request, error: Exception) -> Response:
    """Return the answer to a request that has raised this."""
    headers = error.headers if isinstance(error, HTTPException) else None
    return logged_error_response(as_callboard_error(request, error), correlation_id(request), headers)
