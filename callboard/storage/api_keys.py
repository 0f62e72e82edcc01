"""The API keys in the artifact store, which each api reads again every few seconds (`callboard/storage/believed.py`).

The store has the digest of a key, never the key. To revoke a key is to delete it there, and no api accepts a key that
was revoked five seconds ago. If the store does not answer, nobody knows whether a key is still good: it is not
accepted.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel, Field, ValidationError

from callboard.schemas.errors import CallboardError, Conflict
from callboard.schemas.rest.access import KeyRef, Scope
from callboard.schemas.rest.keys import KeyBody, KeyCreated
from callboard.security.apikeys import Caller, is_key_id, key_digest, key_id_of, key_prefix, new_key
from callboard.storage import object_keys
from callboard.storage.believed import Believed
from callboard.storage.store import Store

log = logging.getLogger(__name__)

MAX_KEYS = 1000
"""Most keys of a workspace, so that a list of them ends."""

_USE_NOTED_EVERY = 60.0
"""Seconds after which a use of a key is written down again."""
_CLOSE_TIMEOUT = 5.0
"""Seconds that a process which ends takes to write down uses."""
_MAX_NOTED = 4096
"""Number of keys whose last use is kept in memory. The one that was used longest ago is dropped."""
_LISTED_AT_ONCE = 16
"""Number of keys that are read at a time for a list."""


class _Record(BaseModel):
    """What the store has of a key: what is answered of it, and the digest, which is never answered."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Digest of the whole key, in hexadecimal digits."""
    key: KeyBody


def caller_with(key: KeyBody) -> Caller:
    """Return who calls with a key. Scopes that only later versions have are not among his."""
    return Caller(
        id=key.id,
        name=key.name,
        scopes=frozenset(scope for scope in Scope if scope in key.scopes),
        projects=None if key.projects is None else frozenset(key.projects),
        ends_at=key.expires_at,
    )


@dataclass(frozen=True)
class _Answer:
    sha256: bytes
    caller: Caller


class StoredKeys:
    """The keys of a store. An instance belongs to one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known = Believed(self._read, "The artifact store does not say whether the API key is good.")
        self._noted: OrderedDict[str, float] = OrderedDict()
        """When a use of each key was last written down by this process, on the event loop's clock."""
        self._notes: set[asyncio.Task[None]] = set()

    async def find(self, key: bytes, digest: bytes) -> Caller | None:
        """Return whose key it is, also if it has ended; None if there is no such key, or if it was revoked.

        The digests are compared in constant time. How long it takes may tell whether there is a key with this id,
        which is no secret.

        Args:
            key: The bytes of the key as they were received.
            digest: Its digest (`key_digest`).

        Raises:
            Unavailable: The store did not answer.
        """
        key_id = key_id_of(key)
        answer = None if key_id is None else await self._known.get(key_id)
        return answer.caller if answer is not None and hmac.compare_digest(answer.sha256, digest) else None

    async def get(self, key_id: str) -> Caller | None:
        """Return who calls with the key of this id. Raises and returns the same as `find`."""
        answer = await self._known.get(key_id) if is_key_id(key_id) else None
        return None if answer is None else answer.caller

    async def create(self, granted: Caller, by: Caller) -> KeyCreated:
        """Make a key with the name, scopes, projects and end of `granted`; return it, with the key itself.

        Raises:
            Conflict: There are too many keys.
            StoreError: The store failed.
        """
        if len(await self._list_ids()) >= MAX_KEYS:
            raise Conflict(f"There are {MAX_KEYS} keys. Revoke those that nobody needs.")
        key_id, key = new_key()
        body = KeyBody(
            id=key_id,
            prefix=key_prefix(key_id),
            name=granted.name,
            scopes=[scope.value for scope in Scope if scope in granted.scopes],
            projects=None if granted.projects is None else sorted(granted.projects),
            created_at=datetime.now(UTC),
            created_by=KeyRef(id=by.id, name=by.name),
            expires_at=granted.ends_at,
            last_used_at=None,
        )
        record = _Record(sha256=key_digest(key.encode()).hex(), key=body)
        await self._store.put(object_keys.api_key(key_id), record.model_dump_json().encode())
        return KeyCreated(**dict(body), key=key)

    async def list(self) -> list[KeyBody]:
        """Return all keys, those that have ended included, the newest first. Raises StoreError."""
        places = asyncio.Semaphore(_LISTED_AT_ONCE)

        async def read(key_id: str) -> KeyBody | None:
            async with places:
                record = await self._read_record(key_id)
                if record is None:
                    return None  # it was revoked meanwhile
                last_used_at = _time_of(await self._store.get(object_keys.api_key_use(key_id)))
                return record.key.model_copy(update={"last_used_at": last_used_at})

        found = await asyncio.gather(*(read(key_id) for key_id in await self._list_ids()))
        return sorted((key for key in found if key is not None), key=lambda key: key.created_at, reverse=True)

    async def revoke(self, key_id: str) -> None:
        """Delete a key, and what is known of it here. Raises StoreError."""
        await self._store.delete(object_keys.api_key(key_id))
        self._known.forget(key_id)
        await self._store.delete(object_keys.api_key_use(key_id))

    def note_use(self, key_id: str) -> None:
        """Have it written down that a key was used now, if this was not done within the last minute."""
        now = asyncio.get_running_loop().time()
        noted = self._noted.get(key_id)
        if noted is not None and now - noted < _USE_NOTED_EVERY:
            return
        self._noted[key_id] = now
        self._noted.move_to_end(key_id)
        if len(self._noted) > _MAX_NOTED:
            self._noted.popitem(last=False)
        note = asyncio.create_task(self._write_use(key_id))
        self._notes.add(note)
        note.add_done_callback(self._notes.discard)

    async def close(self) -> None:
        """Wait until all uses are written down, but not for long."""
        if self._notes:
            await asyncio.wait(self._notes, timeout=_CLOSE_TIMEOUT)

    async def _read(self, key_id: str) -> _Answer | None:
        record = await self._read_record(key_id)
        return None if record is None else _Answer(bytes.fromhex(record.sha256), caller_with(record.key))

    async def _read_record(self, key_id: str) -> _Record | None:
        """Return what the store has of a key. Raises StoreError."""
        data = await self._store.get(object_keys.api_key(key_id))
        if data is None:
            return None
        try:
            record = _Record.model_validate_json(data)
        except ValidationError:
            record = None
        if record is None or record.key.id != key_id:
            log.error("Key %s cannot be read in the artifact store, so it is not accepted.", key_id)
            return None
        return record

    async def _write_use(self, key_id: str) -> None:
        text = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            await self._store.put(object_keys.api_key_use(key_id), text.encode())
        except CallboardError as error:
            log.warning("It could not be written down that key %s was used: %s", key_id, error.message)

    async def _list_ids(self) -> list[str]:
        parts = [key.split("/") async for key in self._store.list(object_keys.API_KEYS)]
        return [key_id for _, key_id, *rest in parts if rest == ["key.json"] and is_key_id(key_id)]


def _time_of(data: bytes | None) -> datetime | None:
    try:
        return None if data is None else datetime.fromisoformat(data.decode("ascii"))
    except ValueError:
        return None
