"""The OpenAPI description, with the request body that FastAPI does not see: it is read by hand (`api.reading`)."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from contract.rest.start import StartRequest

_REF = "#/components/schemas/{model}"


def install(app: FastAPI) -> None:
    """Have the application describe itself completely."""
    app.openapi = lambda: _openapi(app)


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        page = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schema = StartRequest.model_json_schema(ref_template=_REF)
        schemas: dict[str, Any] = page["components"]["schemas"]
        schemas.update(schema.pop("$defs", {}))
        schemas["StartRequest"] = schema
        # FastAPI documents its own answer to bad input, which this application never gives (400 stands for it).
        for path in page["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        app.openapi_schema = page
    return app.openapi_schema
