"""The OpenAPI description, with the request bodies that FastAPI does not see as `api.http.json_body` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

from api.http.access import requirement_of
from api.http.key_check import KEY_HEADER

_REF = "#/components/schemas/{model}"
_KEY_SCHEMES = {
    "APIKeyHeader": {"type": "apiKey", "in": "header", "name": KEY_HEADER},
    "HTTPBearer": {"type": "http", "scheme": "bearer"},
}
"""How a key is sent. `api.http.middleware` checks it before a route is looked up, so no route says it by itself."""
_bodies: set[type[BaseModel]] = set()
"""Models of bodies that routes read by themselves."""


def schema_reference(name: str) -> str:
    """Return the reference to a schema of the description."""
    return _REF.format(model=name)


def request_body(
    model: type[BaseModel], *, required: bool = True, also: Mapping[str, Mapping[str, str]] | None = None
) -> dict[str, Any]:
    """Return the addition to a route's OpenAPI description for a body that the route reads by itself.

    Args:
        model: What the body is as JSON.
        required: Whether there has to be a body.
        also: The schemas of what may be sent in place of JSON, by media type.
    """
    _bodies.add(model)
    content: dict[str, Any] = {"application/json": {"schema": {"$ref": schema_reference(model.__name__)}}}
    content |= {media_type: {"schema": dict(schema)} for media_type, schema in (also or {}).items()}
    return {"requestBody": {"required": required, "content": content}}


def install_openapi(app: FastAPI) -> None:
    """Make the application serve the complete OpenAPI description."""
    app.openapi = lambda: _build_schema(app)


def _build_schema(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            tags=[{"name": "Runs"}],  # what most people look for stands first
        )
        schemas: dict[str, Any] = schema["components"]["schemas"]
        for model in _bodies:
            model_schema = model.model_json_schema(ref_template=_REF)
            schemas.update(model_schema.pop("$defs", {}))
            schemas[model.__name__] = model_schema
        # FastAPI documents its own answer 422 to bad input, which this application never gives: it answers 400.
        for path in schema["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        schema["components"]["securitySchemes"] = _KEY_SCHEMES
        schema["security"] = [{name: []} for name in _KEY_SCHEMES]
        for route in app.routes:
            if isinstance(route, APIRoute) and (needs := requirement_of(route)) and route.include_in_schema:
                for method in route.methods or ():
                    operation = schema["paths"][route.path_format][method.lower()]
                    scopes = " and ".join(f"`{scope}`" for scope in needs.scopes)
                    operation["description"] += f"\n\nThis needs the scope {scopes}."
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        app.openapi_schema = schema
    return app.openapi_schema
