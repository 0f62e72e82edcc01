"""The versions of a project that are stored: who has deployed them when, and in which files they differ."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from callboard.projects.manifest import (
    NodeEnvironment,
    OwnEnvironment,
    Stored,
    is_version,
    parse_stored,
    read_current,
    read_manifest,
)
from callboard.projects.pointer import DeployRecord
from callboard.schemas.errors import NotFound
from callboard.schemas.rest.versions import VersionBody, VersionChanges
from callboard.storage import object_keys
from callboard.storage.store import Store

_RECORD = re.compile(r"(?P<time>\d{8}T\d{6}\.\d{6}Z)-(?P<action>[a-z]+)-(?P<version>[0-9a-f]{16})-[0-9a-f-]+\.json")


@dataclass(frozen=True)
class StoredVersion:
    """A version, as lists of the store tell of it."""

    version: str
    at: datetime
    """When it was deployed last; if that left no record, when it was stored or used last."""
    records: tuple[str, ...] = ()
    """The keys of its records, the latest first."""


class VersionFiles(Stored):
    """The files of a version, stored as `projects/{project}/versions/{version}/files.json`."""

    files: dict[str, str]
    """A hash of content and mode, by path."""


async def list_versions(store: Store, project: str) -> list[StoredVersion]:
    """Return all versions of a project, the one that was deployed last first. Nothing is read but lists.

    Raises:
        StoreError: The store failed.
    """
    stored = {
        version: entry.modified
        async for entry in store.entries(object_keys.versions(project))
        if (version := _version_of_manifest(entry.key)) is not None
    }
    records: dict[str, list[str]] = {version: [] for version in stored}
    deployed: dict[str, datetime] = {}
    async for key in store.list(object_keys.deploy_records(project)):  # in the order of their times
        found = _match_record(key)
        if found is None or found["version"] not in records:
            continue
        records[found["version"]].append(key)
        if found["action"] == "deploy":
            deployed[found["version"]] = datetime.strptime(found["time"], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)
    versions = [
        StoredVersion(version, deployed.get(version, modified), tuple(reversed(records[version])))
        for version, modified in stored.items()
    ]
    return sorted(versions, key=lambda each: (each.at, each.version), reverse=True)


async def read_details(store: Store, project: str, versions: Sequence[StoredVersion]) -> list[VersionBody]:
    """Return what the records of these versions say, in the same order. Raises StoreError."""
    pointer = await read_current(store, project)
    current = pointer and pointer.version
    return await asyncio.gather(*(_read_details(store, project, each, current) for each in versions))


async def _read_details(store: Store, project: str, version: StoredVersion, current: str | None) -> VersionBody:
    deployed: DeployRecord | None = None
    promoted: DeployRecord | None = None
    for key in version.records:
        record = parse_stored(DeployRecord, project, await store.get(key))
        if record is None:
            continue
        if record.action == "deploy":
            deployed = deployed or record
        if record.promoted:
            promoted = promoted or record
        if deployed is not None and promoted is not None:
            break
    return VersionBody(
        version=version.version,
        at=version.at,
        current=version.version == current,
        by=deployed and deployed.by,
        message=deployed and deployed.message,
        commit=deployed and deployed.commit,
        promoted_at=promoted and promoted.at,
        promoted_by=promoted and promoted.by,
    )


async def read_changes(store: Store, project: str, version: str, since: str) -> VersionChanges:
    """Return how a version differs from the version `since`.

    Raises:
        NotFound: There is no such version.
        StoreError: The store failed.
    """
    environments: list[OwnEnvironment | NodeEnvironment | None] = []
    files: list[dict[str, str] | None] = []
    for each in (since, version):
        manifest = await read_manifest(store, project, each) if is_version(each) else None
        if manifest is None:
            raise NotFound(f"Project {project} has no version {each}.")
        environments.append(manifest.environment)
        stored = parse_stored(VersionFiles, project, await store.get(object_keys.version_files(project, each)))
        files.append(stored and stored.files)
    old, new = files
    if old is None or new is None:
        return VersionChanges(
            version=version, since=since, known=False, added=[], removed=[], changed=[], packages=False
        )
    return VersionChanges(
        version=version,
        since=since,
        known=True,
        added=sorted(new.keys() - old.keys()),
        removed=sorted(old.keys() - new.keys()),
        changed=sorted(path for path in new.keys() & old.keys() if new[path] != old[path]),
        packages=environments[0] != environments[1],
    )


def version_of_record(key: str) -> str | None:
    """Return the version that a record is about; None if this is not the key of a record."""
    found = _match_record(key)
    return found and found["version"]


def _match_record(key: str) -> re.Match[str] | None:
    return _RECORD.fullmatch(key.rpartition("/")[2])


def _version_of_manifest(key: str) -> str | None:
    *_, version, name = key.split("/")
    return version if name == "manifest.json" and is_version(version) else None
