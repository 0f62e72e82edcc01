"""From an error to an answer, in one shape (docs/contract.md, section 5.1), and its mention in the OpenAPI page."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from contract.errors import BadRequest, CallboardError, InternalServerError, MethodNotAllowed, NotFound, TooMany
from contract.rest.error import ErrorBody
from contract.rest.problems import bad_lines

log = logging.getLogger(__name__)


def answer(error: CallboardError, correlation_id: str, headers: Mapping[str, str] | None = None) -> Response:
    """The response that tells `error`. What is our side's fault is logged with its cause."""
    if error.status >= 500:
        log.error("%s [%s]", error.message, correlation_id, exc_info=error)
    return response_of(error, correlation_id, headers)


def response_of(error: CallboardError, correlation_id: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response that tells `error`, for somebody who logs it in another way."""
    body = ErrorBody.of(error, correlation_id).model_dump(exclude={"details"} if error.details is None else None)
    return JSONResponse(body, error.status, {**(headers or {}), **headers_of(error)})


def headers_of(error: CallboardError) -> dict[str, str]:
    """Return the headers that belong to `error`, whatever the answer looks like."""
    if isinstance(error, TooMany) and error.retry_after is not None:
        return {"retry-after": str(error.retry_after)}
    return {}


def defect() -> InternalServerError:
    """What a caller hears of an exception that nobody foresaw; the log tells the rest."""
    return InternalServerError(
        "Callboard failed to answer, by a defect of its own. Its log tells the cause beside the correlationId."
    )


def install(app: FastAPI) -> None:
    """Have the application answer errors in the contract's shape, its framework's own ones included."""
    app.add_exception_handler(CallboardError, _of_ours)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_router)


def documented(*errors: type[CallboardError]) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that raises these."""
    return {error.status: {"model": ErrorBody, "description": _first_line(error)} for error in errors}


def correlation_id(request: Request) -> str:
    """The id under which the log speaks of this request; `api.boundary` has given it."""
    return str(request.state.correlation_id)


def _first_line(error: type[CallboardError]) -> str:
    return (error.__doc__ or error.code).strip().splitlines()[0]


def _of_ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, CallboardError)  # noqa: S101 - that is what it is registered for
    return answer(error, correlation_id(request))


def _of_validation(request: Request, error: Exception) -> Response:
    """FastAPI's own answer would be 422 and would repeat the input."""
    assert isinstance(error, RequestValidationError)  # noqa: S101
    # The first part of a location says where the parameter stands ("query"), which is no part of the field's path.
    return answer(bad_lines([{**line, "loc": line["loc"][1:]} for line in error.errors()]), correlation_id(request))


def _of_router(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    match error.status_code:
        case 404:
            ours: CallboardError = NotFound("There is nothing at this path; the page /docs lists what there is.")
        case 405:
            ours = MethodNotAllowed(f"This path has no method {request.method[:20]}; the page /docs lists what it has.")
        case status if status < 500:
            ours = BadRequest("The request cannot be read.")
        case _:
            ours = defect()
    return answer(ours, correlation_id(request), error.headers)
