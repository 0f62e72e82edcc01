"""Checking parameters by the schema of their API, before anything is started or stored with them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from api.dependencies import Services
from projects.manifest import Manifest
from projects.parameter_check import wrong_parameters
from schemas.rest.field_errors import errors_at

_CHECKS = ThreadPoolExecutor(1, "parameter-check")
"""Where parameters are checked, one request after the other: many checks at once would slow down all other requests."""


async def check_parameters(
    services: Services, manifest: Manifest, api: str, parameters: dict[str, Any], *path: str | int
) -> None:
    """Check parameters, if their API has a schema.

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
    described = await services.input_schemas.get(services.store, manifest.project, manifest.version)
    schema = described.of(api).input_schema
    if schema is None:
        return
    wrong = await asyncio.get_running_loop().run_in_executor(_CHECKS, wrong_parameters, schema, parameters)
    if wrong:
        raise errors_at([((*path, *each.path), each.expected) for each in wrong])
