"""Reading sample parameters: from the bundle of a version, and those for logins from a project folder."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from callboard.schemas.errors import ProjectError, StoreError

_FOLDER = ".parameters/api/"
_AUTH_SESSION_FOLDER = ".parameters/auth-sessions/create"
_MAX_SAMPLE_SIZE = 64 * 1024
"""Most bytes of one sample file; longer files are skipped."""
_MAX_SAMPLES = 200
"""Most sample files that are read from one version."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample file."""

    api: str
    name: str
    text: str
    """Text of the file as it was written; it need not be valid JSON."""


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
