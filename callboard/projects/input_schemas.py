"""What is known of the APIs of a version beside its manifest: their parameters as JSON Schema, and their docstrings.

A deploy writes it, and whoever starts Runs reads it: the api, and control workers for those that are started again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any

from pydantic import Field

from callboard.projects.manifest import Stored, parse_stored
from callboard.storage import object_keys
from callboard.storage.single_flight import SingleFlight
from callboard.storage.store import Store

_CACHE_SIZE = 32
"""Number of versions of which this is kept in memory."""
_KEPT = 60.0
"""Seconds for which it is kept there."""

InputSchema = dict[str, Any]
"""The JSON Schema (2020-12) of an API's parameters. All its references lead to its own `$defs`."""


class ApiDescription(Stored):
    """What is known of one API."""

    docstring: str | None = None
    """That of its function, else that of its file."""
    input_schema: InputSchema | None = None
    """None: its annotation says nothing of its parameters, or cannot be read."""
    result_schema: dict[str, Any] | None = None
    """The JSON Schema (2020-12) of what it returns. None: its annotation says nothing of that, or cannot be read."""


class ApiDescriptions(Stored):
    """What is known of the APIs of a version, stored as `projects/{project}/versions/{version}/schemas.json`."""

    apis: dict[str, ApiDescription] = Field(default_factory=dict[str, ApiDescription])

    def of(self, api: str) -> ApiDescription:
        """Return what is known of an API."""
        return self.apis.get(api, ApiDescription())


class InputSchemas:
    """The descriptions of versions, each of them kept for a while. An instance belongs to one event loop.

    They change if the same files are deployed again, in another environment or by another version of Callboard.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], tuple[float, ApiDescriptions]] = OrderedDict()
        self._reads: SingleFlight[tuple[str, str], ApiDescriptions] = SingleFlight()

    async def get(self, store: Store, project: str, version: str) -> ApiDescriptions:
        """Return the descriptions of a version; they are empty if it has none on record.

        Raises:
            StoreError: The store failed, or what is in it is damaged.
        """
        which, now = (project, version), asyncio.get_running_loop().time()
        read_at, known = self._known.get(which, (-_KEPT, ApiDescriptions()))
        if now - read_at >= _KEPT:
            known = await self._reads.run(which, lambda: _read(store, *which))
            self._known[which] = (now, known)
            if len(self._known) > _CACHE_SIZE:
                self._known.popitem(last=False)
        return known


async def _read(store: Store, project: str, version: str) -> ApiDescriptions:
    stored = await store.get(object_keys.input_schemas(project, version))
    return parse_stored(ApiDescriptions, project, stored) or ApiDescriptions()
