"""Sample parameters for trying a project's APIs: `.parameters/api/{API}/{name}.json` in the bundle of a version."""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from pathlib import Path

from callboard.projects.bounded import run_bounded
from callboard.projects.sample_files import Sample, read_bundle_samples
from callboard.schemas.errors import MachineError, ProjectError, StoreError
from callboard.storage import object_keys
from callboard.storage.single_flight import SingleFlight
from callboard.storage.store import Store

_CACHE_SIZE = 64
"""Number of versions whose samples are kept in memory."""


class Samples:
    """The samples of versions, each version read once. An instance belongs to one event loop."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], tuple[Sample, ...]] = OrderedDict()
        self._reads: SingleFlight[tuple[str, str], tuple[Sample, ...]] = SingleFlight()

    async def get(self, store: Store, project: str, version: str) -> tuple[Sample, ...]:
        """Return the samples of a version by API and name, `default` first.

        Raises:
            StoreError: The store failed, or the bundle is damaged.
        """
        which = (project, version)
        if which not in self._known:
            self._known[which] = await self._reads.run(which, lambda: _fetch_samples(store, *which))
            if len(self._known) > _CACHE_SIZE:
                self._known.popitem(last=False)
        return self._known[which]


async def _fetch_samples(store: Store, project: str, version: str) -> tuple[Sample, ...]:
    with tempfile.TemporaryDirectory(prefix="callboard-samples-") as folder:
        bundle = Path(folder) / "bundle.tar.gz"
        if not await store.get_file(object_keys.bundle(project, version), bundle):
            return ()
        try:
            return await run_bounded(read_bundle_samples, bundle, read=[bundle])
        except (ProjectError, MachineError) as error:
            raise StoreError(f"The bundle cannot be read: {error.message}") from error
