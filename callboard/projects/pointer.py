"""Moving the pointer to the deployed version of a project, with a record of who has moved it.

A rollback goes to the version that was deployed before. So the pointer holds the line of versions that led to it: a
deploy or a promote puts the version of before at its end, and a rollback takes the last one off.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, ValidationError

from callboard.projects.manifest import Current, LastDeploy, Stored
from callboard.schemas.errors import StoreError
from callboard.storage import object_keys
from callboard.storage.store import Store

Action = Literal["deploy", "promote", "rollback"]

MAX_ROLLBACKS = 100
"""How many versions back rollbacks can go."""


class DeployRecord(Stored):
    """A deploy, a promote or a rollback."""

    id: str
    """A value that no other record has."""
    version: str
    action: Action
    promoted: bool = True
    """Whether the version became the deployed one; a deploy may only store it."""
    at: AwareDatetime
    by: str | None = None
    """Who did it: the name of a key, or a user and a host."""
    message: str | None = None
    commit: str | None = None
    """The commit of the project folder; it ends in `-dirty` if files differed from that."""

    @property
    def name(self) -> str:
        """The name under which it is stored, which tells most of it."""
        return f"{self.at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}-{self.action}-{self.version}-{self.id}"


async def put_record(store: Store, project: str, record: DeployRecord) -> None:
    """Store the record. Raises StoreError."""
    await store.put(object_keys.deploy_record(project, record.name), record.to_bytes())


async def move_pointer(store: Store, project: str, record: DeployRecord) -> None:
    """Let the project have the version of this record, which is stored. To do so twice has no further effect.

    Raises:
        StoreError: The store failed.
    """
    await put_record(store, project, record)
    data = await store.get(object_keys.current_version(project))
    before = _readable(data)
    if before is None or before.record != record.id:
        had_resources = data is not None and (before is None or before.has_resources)
        for version in {record.version, record.version if before is None else before.version}:
            await _note_use(store, project, version)
        pointer = Current(
            version=record.version,
            deployed_at=record.at,
            has_resources=had_resources or await store.exists(object_keys.resources(project, record.version)),
            before=_line(before, record),
            record=record.id,
        )
        await store.put(object_keys.current_version(project), pointer.to_bytes())
    await _tell(store, project, record.version)


async def mark_deleting(store: Store, project: str) -> None:
    """Note that the project is being deleted: deploys wait until nothing of it is left. Raises StoreError."""
    await store.put(object_keys.deleting(project), b"{}\n")


async def withdraw_pointer(store: Store, project: str) -> None:
    """Let the project have no deployed version: for everybody, it does not exist any more. Raises StoreError."""
    await store.delete(object_keys.current_version(project))
    await _tell(store, project, None)


async def refuse_if_deleting(store: Store, project: str) -> None:
    """Raise StoreError while the project is being deleted."""
    if await store.exists(object_keys.deleting(project)):
        raise StoreError(f"Project {project} is being deleted. Deploy it again once that is done, in a moment.")


async def _tell(store: Store, project: str, version: str | None) -> None:
    """Tell all who follow deploys that this one has changed.

    That comes after the pointer: whoever has read the note before looks at the pointer again.
    """
    note = LastDeploy(project=project, version=version, deployed_at=datetime.now(UTC), id=uuid.uuid4().hex)
    await store.put(object_keys.LAST_DEPLOY, note.to_bytes())


def _readable(data: bytes | None) -> Current | None:
    """Return the pointer. A damaged one tells nothing, and the next one replaces it."""
    try:
        return None if data is None else Current.model_validate_json(data)
    except ValidationError:
        return None


def _line(before: Current | None, record: DeployRecord) -> tuple[str, ...]:
    if before is None:
        return ()
    if record.action == "rollback":
        return before.before[before.before.index(record.version) + 1 :] if record.version in before.before else ()
    if before.version == record.version:
        return before.before
    return (before.version, *before.before)[:MAX_ROLLBACKS]


async def _note_use(store: Store, project: str, version: str) -> None:
    """Write the manifest of a version anew, as its date tells since when nobody may need it any more."""
    manifest = await store.get(object_keys.manifest(project, version))
    if manifest is not None:
        await store.put(object_keys.manifest(project, version), manifest)
