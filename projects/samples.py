"""Sample parameters for trying a project's APIs: `.parameters/api/{API}/{name}.json` in the bundle of a version."""

from __future__ import annotations

import gzip
import tarfile
import tempfile
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from projects.processes import run_in_thread
from projects.single_flight import SingleFlight
from schemas.errors import ProjectError, StoreError
from storage import keys
from storage.store import Store

_FOLDER = ".parameters/api/"
_AUTH_SESSION_FOLDER = ".parameters/auth-sessions/create"
_MAX_SAMPLE_SIZE = 64 * 1024
"""Most bytes of one sample file; longer files are skipped."""
_MAX_SAMPLES = 200
"""Most sample files that are read from one version."""
_CACHE_SIZE = 64
"""Number of versions whose samples are kept in memory."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample file."""

    api: str
    name: str
    text: str
    """Text of the file as it was written; it need not be valid JSON."""


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


def read_auth_session_samples(folder: Path) -> tuple[Sample, ...]:
    """Return the samples for creating logins, `default` first.

    They hold credentials, so they are in project folders only.

    Raises:
        ProjectError: A sample cannot be read.
    """
    found: list[Sample] = []
    for path in sorted((folder / _AUTH_SESSION_FOLDER).glob("*.json"))[:_MAX_SAMPLES]:
        try:
            if path.stat().st_size <= _MAX_SAMPLE_SIZE:
                found.append(Sample("create", path.stem, path.read_text("utf-8", "replace")))
        except OSError as error:
            raise ProjectError(f"{path} cannot be read: {error.strerror or error}.") from error
    return tuple(sorted(found, key=lambda sample: (sample.name != "default", sample.name)))


async def _fetch_samples(store: Store, project: str, version: str) -> tuple[Sample, ...]:
    with tempfile.TemporaryDirectory(prefix="callboard-samples-") as folder:
        bundle = Path(folder) / "bundle.tar.gz"
        if not await store.get_file(keys.bundle(project, version), bundle):
            return ()
        return await run_in_thread(read_bundle_samples, bundle)


def read_bundle_samples(bundle: Path) -> tuple[Sample, ...]:
    """Return the samples in the archive `bundle`.

    Raises:
        StoreError: The archive is damaged.
    """
    found: list[Sample] = []
    try:
        with gzip.open(bundle) as unzipped, tarfile.open(fileobj=unzipped, mode="r|") as archive:
            for entry in archive:
                if entry.name > _FOLDER and not entry.name.startswith(_FOLDER):
                    break  # Entries are in the order of their paths, so the rest of a big bundle need not be read.
                path = entry.name.removeprefix(_FOLDER).removesuffix(".json")
                api, _, name = path.rpartition("/")
                if not (entry.name.startswith(_FOLDER) and entry.name.endswith(".json") and api and name):
                    continue
                content = archive.extractfile(entry) if entry.size <= _MAX_SAMPLE_SIZE else None
                if content is not None and len(found) < _MAX_SAMPLES:
                    found.append(Sample(api, name, content.read().decode("utf-8", "replace")))
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise StoreError(f"The bundle cannot be read: {error}.") from error
    return tuple(sorted(found, key=lambda sample: (sample.api, sample.name != "default", sample.name)))
