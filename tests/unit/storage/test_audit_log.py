"""Entries of the audit are found by what their keys say, newest first, page by page."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from callboard.schemas.rest.audit import AuditActor, AuditEntry
from callboard.storage import audit_log, object_keys
from callboard.storage.audit_log import AuditFilter, AuditLog
from callboard.storage.folder import FolderStore

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)
"""Of yesterday."""
LATER = timedelta(seconds=1)


def entry(number: int = 0, *, time: datetime | None = None, name: str | None = "nightly", **fields: Any) -> AuditEntry:
    known: dict[str, Any] = {
        "time": time or NOON + number * LATER,
        "action": "run.start",
        "actor": AuditActor(id=fields.pop("actor", "Zk3vT9qLm2Xa"), name=name, signed_in=False),
        "project": "shop",
        "ids": {"runId": f"run-{number}"},
        "status": 201,
        "refused_action": None,
        "missing_scope": None,
        "client": "203.0.113.7",
        "request": None,
        "correlation_id": f"{number:032}",
    }
    return AuditEntry.model_validate({**known, **fields})


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def log(store: FolderStore) -> AuditLog:
    return AuditLog(store)


async def found(log: AuditLog, *, limit: int = 100, **fields: Any) -> list[AuditEntry]:
    """All entries that such a filter finds, page by page."""
    wanted = AuditFilter(**fields)
    entries: list[AuditEntry] = []
    place = None
    while True:
        page = await log.list_page(wanted, limit=limit, after=place)
        assert len(page.entries) <= limit
        entries += page.entries
        if page.next_place is None:
            return entries
        place = page.next_place


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_entries_are_listed_newest_first_over_days_and_pages(log: AuditLog, limit: int):
    midnight = NOON - timedelta(hours=12)
    times = [midnight, midnight - timedelta(microseconds=1), midnight - timedelta(days=9), NOON, NOON + LATER]
    entries = [entry(number, time=time) for number, time in enumerate(times)]
    for each in entries:
        await log.write(each)
    listed = await found(log, limit=limit)
    assert sorted(listed, key=lambda each: each.time) == sorted(entries, key=lambda each: each.time)
    assert all(newer.time >= older.time for newer, older in pairwise(listed))


async def test_filters_find_what_they_name_and_nothing_else(log: AuditLog):
    long = "p" * 200
    entries = [
        entry(0),
        entry(1, action="run.cancel", project="members"),
        entry(2, actor="operator-0123abcd", name="operator", project=None, action="sign-in"),
        entry(3, name=None, actor="unknown", action="refusal", project=None),
        entry(4, project=long),
        entry(5, project=f"{long[:-1]}q", name="Nächtlich\n/../x"),
    ]
    for each in entries:
        await log.write(each)
    zero, one, two, three, four, five = entries
    assert await found(log) == entries[::-1]
    assert await found(log, actions=frozenset({"run.cancel", "sign-in"})) == [two, one]
    assert await found(log, projects=frozenset({"members"})) == [one]
    assert await found(log, projects=frozenset({long})) == [four], "keys have the beginning of a name only"
    assert await found(log, actors=frozenset({"operator-0123abcd"})) == [two]
    assert await found(log, actors=frozenset({"unknown"})) == [three]
    assert await found(log, actors=frozenset({"Nächtlich\n/../x"})) == [five]
    assert await found(log, actors=frozenset({"nightly"}), projects=frozenset({"shop"})) == [zero]
    assert await found(log, since=one.time, until=three.time) == [two, one]
    assert await found(log, since=five.time + LATER) == await found(log, until=zero.time) == []
    assert await found(log, until=NOON + timedelta(days=9000)) == entries[::-1]


async def test_a_page_examines_so_many_keys_and_days_at_most(log: AuditLog, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(audit_log, "_MAX_EXAMINED", 3)
    monkeypatch.setattr(audit_log, "_MAX_DAYS", 2)
    wanted = entry(0, time=NOON - timedelta(days=7), action="job.delete")
    await log.write(wanted)
    for number in range(7):
        await log.write(entry(number))
    a_filter = AuditFilter(actions=frozenset({"job.delete"}))
    page = await log.list_page(a_filter, limit=10)
    pages = 1
    while page.next_place is not None:
        page, pages = await log.list_page(a_filter, limit=10, after=page.next_place), pages + 1
        assert not page.entries or page.entries == [wanted]
    assert page.entries == [wanted] or pages > 4
    assert await found(log, actions=frozenset({"job.delete"})) == [wanted]


async def test_what_callboard_has_not_written_is_passed_over(log: AuditLog, store: FolderStore):
    await log.write(entry())
    for key in (
        "audit/README",
        f"{object_keys.audit_day(NOON.date().isoformat())}x.json",
        "audit/2026-13-99/0_0_a_b_0_.json",
    ):
        await store.put(key, b"not JSON")
    assert await found(log) == [entry()]
    assert await log.remove_before(date.max, float("inf")) == 1
    assert len([key async for key in store.list("")]) == 3


@pytest.mark.parametrize("place", ["x", "audit/", "audit/yesterday/", "runs/shop/x"])
async def test_a_place_that_is_none_is_refused(log: AuditLog, place: str):
    with pytest.raises(ValueError, match="Invalid isoformat"):
        await log.list_page(AuditFilter(), limit=1, after=place)


async def test_entries_of_whole_days_are_removed(log: AuditLog):
    for days in range(4):
        await log.write(entry(days, time=NOON - timedelta(days=days)))
    assert await log.remove_before(NOON.date() - timedelta(days=1), float("inf")) == 2
    assert [each.time for each in await found(log)] == [NOON, NOON - timedelta(days=1)]
    assert await log.remove_before(date.max, 0) == 0, "its time is over"
