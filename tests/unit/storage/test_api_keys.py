"""Keys in the store: what is kept of them, and how soon every api hears that one was revoked."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from callboard.schemas.errors import Conflict, Unavailable
from callboard.schemas.rest.access import Scope
from callboard.security.apikeys import Caller, key_digest, new_key
from callboard.storage import api_keys, believed
from callboard.storage.api_keys import StoredKeys
from tests.support.faulty_store import FaultyStore

BY = Caller(id="operator-01234567", name="operator", scopes=frozenset({Scope.ADMIN}))
END = datetime(2099, 1, 31, tzinfo=UTC)
GRANTED = Caller(
    id="", name="import", scopes=frozenset({Scope.RUNS_START, Scope.JOBS}), projects=frozenset({"shop"}), ends_at=END
)


class Clock:
    """The clock of the event loop, which a test moves on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        time = asyncio.get_running_loop().time
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: time() + self.ahead, raising=False)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def store(tmp_path: Path) -> FaultyStore:
    return FaultyStore(tmp_path)


async def hang(_key: str) -> None:
    await asyncio.Event().wait()


async def find(known: StoredKeys, key: str) -> Caller | None:
    return await known.find(key.encode(), key_digest(key.encode()))


async def test_a_key_allows_what_was_granted_and_the_store_has_only_its_digest(store: FaultyStore):
    made = await StoredKeys(store).create(GRANTED, BY)
    caller = await find(StoredKeys(store), made.key)
    assert caller == Caller(made.id, "import", GRANTED.scopes, GRANTED.projects, END)
    ((name, data),) = store.writes
    kept = json.loads(data)
    assert name == f"keys/{made.id}/key.json"
    assert kept["sha256"] == hashlib.sha256(made.key.encode()).hexdigest()
    assert (kept["key"]["createdBy"]["id"], kept["key"]["scopes"]) == (BY.id, ["runs:start", "jobs"])
    assert made.key[-43:] not in data.decode()


async def test_another_secret_behind_a_known_id_is_no_key(store: FaultyStore):
    known = StoredKeys(store)
    made = await known.create(GRANTED, BY)
    changed = made.key[:-1] + ("A" if made.key[-1] != "A" else "B")
    for other in (new_key()[1], f"cb_{made.id}_{new_key()[1][-43:]}", changed):
        assert await find(known, other) is None
    assert await find(known, made.key) is not None


async def test_digests_are_compared_in_constant_time(store: FaultyStore, monkeypatch: pytest.MonkeyPatch):
    made = await StoredKeys(store).create(GRANTED, BY)
    compared: list[bytes] = []

    def compare_digest(one: bytes, other: bytes) -> bool:
        compared.append(other)
        return one == other

    monkeypatch.setattr(api_keys.hmac, "compare_digest", compare_digest)
    other = f"cb_{made.id}_{new_key()[1][-43:]}"
    assert [await find(StoredKeys(store), each) is not None for each in (made.key, other)] == [True, False]
    assert compared == [key_digest(made.key.encode()), key_digest(other.encode())]


async def test_a_revoked_key_is_refused_by_another_api_within_five_seconds(store: FaultyStore, clock: Clock):
    here, there = StoredKeys(store), StoredKeys(store)
    made = await here.create(GRANTED, BY)
    assert await find(here, made.key) is not None
    assert await find(there, made.key) is not None
    await here.revoke(made.id)
    assert await find(here, made.key) is None, "at once"
    clock.ahead += 3.1
    assert await find(there, made.key) is None
    assert [each async for each in store.list("keys/")] == []


@pytest.mark.parametrize("is_slow", [False, True])
async def test_while_the_store_is_away_nobody_knows_whether_a_key_is_good(
    store: FaultyStore, clock: Clock, monkeypatch: pytest.MonkeyPatch, is_slow: bool
):
    known = StoredKeys(store)
    made = await known.create(GRANTED, BY)
    assert await find(known, made.key) is not None
    if is_slow:
        monkeypatch.setattr(believed, "_READ_TIMEOUT", 0.01)
        monkeypatch.setattr(store, "get", hang)
    else:
        store.refuse = lambda _key: True
    assert await find(known, made.key) is not None, "it was good a moment ago"
    clock.ahead += 3.1
    for asked in (known, StoredKeys(store)):
        with pytest.raises(Unavailable, match="does not say whether the API key is good"):
            await find(asked, made.key)


async def test_a_use_is_written_down_once_a_minute_and_shown(store: FaultyStore, clock: Clock):
    known = StoredKeys(store)
    made = await known.create(GRANTED, BY)
    assert [each.last_used_at for each in await known.list()] == [None]
    for _ in range(3):
        known.note_use(made.id)
    await known.close()
    assert [name for name, _ in store.writes[1:]] == [f"keys/{made.id}/last-use.json"]
    (shown,) = await known.list()
    assert shown.last_used_at is not None
    assert abs(shown.last_used_at - datetime.now(UTC)) < timedelta(minutes=1)
    clock.ahead += 61
    known.note_use(made.id)
    store.refuse = lambda _key: True
    await known.close()  # that it cannot be written hurts nobody


async def test_a_use_that_is_written_late_does_not_bring_a_key_back(store: FaultyStore):
    known = StoredKeys(store)
    made = await known.create(GRANTED, BY)
    await known.revoke(made.id)
    known.note_use(made.id)
    await known.close()
    assert await known.list() == []
    assert await known.get(made.id) is None


@pytest.mark.parametrize("damage", [b"", b"{}", b"not json", b'{"key": {}, "sha256": "0"}'])
async def test_a_record_that_cannot_be_read_is_no_key(store: FaultyStore, damage: bytes):
    made = await StoredKeys(store).create(GRANTED, BY)
    await store.put(f"keys/{made.id}/key.json", damage)
    assert await find(StoredKeys(store), made.key) is None
    assert await StoredKeys(store).list() == []


async def test_the_record_of_another_key_is_none(store: FaultyStore):
    known = StoredKeys(store)
    made, other = [await known.create(GRANTED, BY) for _ in range(2)]
    await store.put(f"keys/{other.id}/key.json", store.writes[0][1])
    assert await known.get(other.id) is None
    assert [each.id for each in await known.list()] == [made.id]


async def test_scopes_of_a_later_version_allow_nothing_here(store: FaultyStore):
    made = await StoredKeys(store).create(GRANTED, BY)
    kept = json.loads(store.writes[0][1])
    kept = {**kept, "later": 1, "key": {**kept["key"], "scopes": ["jobs", "rockets"], "later": 1}}
    await store.put(f"keys/{made.id}/key.json", json.dumps(kept).encode())
    caller = await find(StoredKeys(store), made.key)
    assert caller is not None
    assert caller.scopes == {Scope.JOBS}


async def test_there_are_only_so_many_keys(store: FaultyStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(api_keys, "MAX_KEYS", 2)
    known = StoredKeys(store)
    for _ in range(2):
        await known.create(GRANTED, BY)
    with pytest.raises(Conflict):
        await known.create(GRANTED, BY)
