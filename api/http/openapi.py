"""The OpenAPI description, with the request bodies that FastAPI does not see as `api.http.json_body` reads them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from schemas.rest.auth_sessions import CreateAuthSession, ImportAuthSession, UpdateAuthSession, ValidateAuthSession
from schemas.rest.start import StartRequest

_REF = "#/components/schemas/{model}"
_BODIES: tuple[type[BaseModel], ...] = (
    StartRequest,
    CreateAuthSession,
    UpdateAuthSession,
    ValidateAuthSession,
    ImportAuthSession,
)


IDEMPOTENCY_DOCS: dict[str, Any] = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "The same key with the same request gives the same Run; with another request, 409.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        }
    ]
}
"""Addition to the OpenAPI description of a route whose request may carry an Idempotency-Key."""


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the addition to a route's OpenAPI description for a body that the route reads by itself."""
    content = {"application/json": {"schema": {"$ref": _REF.format(model=model.__name__)}}}
    return {"requestBody": {"required": True, "content": content}}


def install(app: FastAPI) -> None:
    """Make the application serve the complete OpenAPI description."""
    app.openapi = lambda: _openapi(app)


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        page = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas: dict[str, Any] = page["components"]["schemas"]
        for model in _BODIES:
            schema = model.model_json_schema(ref_template=_REF)
            schemas.update(schema.pop("$defs", {}))
            schemas[model.__name__] = schema
        # FastAPI documents its own answer 422 to bad input, which this application never gives: it answers 400.
        for path in page["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        app.openapi_schema = page
    return app.openapi_schema
