"""Checking parameters by the schema of their API, before anything is started or stored with them."""

from __future__ import annotations

import asyncio
from typing import Any

from api.dependencies import Services
from projects.manifest import Manifest
from projects.parameter_check import wrong_parameters
from schemas.rest.field_errors import errors_at


async def check_parameters(
    services: Services, manifest: Manifest, api: str, parameters: dict[str, Any], *path: str | int
) -> None:
    """Check parameters, if the project wants that (`apiAccess.validateParameters`) and its API has a schema.

    Args:
        services: The services of the request.
        manifest: The version whose API they are for.
        api: The API.
        parameters: The parameters.
        path: Where they are in the body of the request, for the error.

    Raises:
        BadRequest: They are not what the schema says.
        StoreError: The store failed.
    """
    if not manifest.settings.api_access.validate_parameters:
        return
    described = await services.input_schemas.get(services.store, manifest.project, manifest.version)
    schema = described.of(api).input_schema
    if schema is not None and (wrong := await asyncio.to_thread(wrong_parameters, schema, parameters)):
        raise errors_at([((*path, *each.path), each.expected) for each in wrong])
