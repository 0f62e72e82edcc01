"""Write entries of the audit to the store, list them, and remove old ones.

Each entry is an object of its own, which nothing changes. The key says when, what, who and in which project
(`AuditName`), so a list of keys finds the entries that a filter wants, and only these are read.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Self

from callboard.schemas.rest.audit import AuditEntry
from callboard.storage import object_keys
from callboard.storage.store import Store

log = logging.getLogger(__name__)

_MAX_EXAMINED = 10_000
"""How many keys one page examines at most: a bucket lists a thousand of them with one request."""
_MAX_DAYS = 100
"""How many days one page examines at most: each costs a request, also if nothing happened then."""
_CONCURRENT = 16
"""How many entries are removed at the same time."""


_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)
_NAME = re.compile(
    rf"{object_keys.AUDIT}(?P<day>\d{{4}}-\d\d-\d\d)/(?P<left>\d{{11}})_(?P<random>[0-9a-f]{{8}})"
    r"_(?P<action>[a-z.-]+)_(?P<actor>[A-Za-z0-9-]+)_(?P<name>[0-9a-f]{8})_(?P<project>[a-z0-9_-]*)\.json"
)
_PROJECT_LIMIT = 100
"""How many characters of a project's name stand in a key: a name of a file has 255 bytes at most."""


@dataclass(frozen=True)
class AuditName:
    """What the key of an entry says of it.

    It begins with the day. What is left of the day follows, in microseconds, so that keys of a day sort by their time,
    the newest first.
    """

    time: datetime
    random: str
    """Tells apart what happened at the same time."""
    action: str
    actor: str
    """The id of the key that has sent the request."""
    name_digest: str
    """Begin of a digest of the name of that key, which may have any characters."""
    project: str
    """Begin of the project's name; empty if the entry is about none."""

    @classmethod
    def of(cls, entry: AuditEntry, repeated: str | None = None) -> Self:
        """Return the name of a new entry; see `AuditLog.write`."""
        return cls(
            entry.time.astimezone(UTC),
            secrets.token_hex(4) if repeated is None else _digest(repeated),
            entry.action,
            entry.actor.id,
            _digest(entry.actor.name),
            _clip(entry.project),
        )

    @classmethod
    def read(cls, key: str) -> Self | None:
        """Return what a key says; None if it is not that of an entry."""
        match = _NAME.fullmatch(key)
        if match is None:
            return None
        try:
            begin = datetime.combine(date.fromisoformat(match["day"]), time(), UTC)
        except ValueError:
            return None
        at = begin + _DAY - int(match["left"]) * _MICROSECOND
        return cls(at, match["random"], match["action"], match["actor"], match["name"], match["project"])

    @property
    def key(self) -> str:
        """The key of the entry."""
        name = f"{_left_of_day(self.time)}_{self.random}_{self.action}_{self.actor}_{self.name_digest}_{self.project}"
        return object_keys.audit_entry(self.time.date().isoformat(), name)

    @property
    def place(self) -> str:
        """What sorts behind this key, and before that of the next older entry of the day."""
        return f"{_begin_of(self.time.date())}{_left_of_day(self.time)}_{self.random}~"


def _begin_of(day: date) -> str:
    """Return the prefix of the keys of a day, which sorts before them."""
    return object_keys.audit_day(day.isoformat())


def _left_of_day(at: datetime) -> str:
    return f"{(datetime.combine(at.date(), time(), UTC) + _DAY - at) // _MICROSECOND:011}"


def _digest(name: str | None) -> str:
    return hashlib.sha256((name or "").encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _clip(project: str | None) -> str:
    return (project or "")[:_PROJECT_LIMIT]


@dataclass(frozen=True)
class AuditFilter:
    """Which entries are wanted: they have one of the values of each field that has any."""

    actors: frozenset[str] = frozenset()
    """Ids or names of keys."""
    actions: frozenset[str] = frozenset()
    projects: frozenset[str] = frozenset()
    since: datetime | None = None
    """Entries of this time or later."""
    until: datetime | None = None
    """Entries of an earlier time."""

    def wants(self, entry: AuditEntry) -> bool:
        """Tell whether the entry is wanted."""
        return (
            (not self.actors or entry.actor.id in self.actors or entry.actor.name in self.actors)
            and (not self.actions or entry.action in self.actions)
            and (not self.projects or entry.project in self.projects)
        )

    def may_want(self, name: AuditName) -> bool:
        """Tell whether an entry with this name may be wanted: a name has less than its entry."""
        digests = {_digest(actor) for actor in self.actors}
        return (
            (not self.actors or name.actor in self.actors or name.name_digest in digests)
            and (not self.actions or name.action in self.actions)
            and (not self.projects or name.project in {_clip(project) for project in self.projects})
        )


@dataclass(frozen=True)
class AuditPage:
    """Some entries, and where the next page begins."""

    entries: list[AuditEntry]
    next_place: str | None
    """Where the next page begins; None if there is no other page."""


@dataclass
class _Search:
    """What a page has found so far, and how far it has come."""

    place: str
    """A key, or what sorts between two of them: the search goes on behind it."""
    found: list[AuditName]
    """Entries that may be wanted."""
    examined: int = 0
    days: int = 0
    is_over: bool = False
    """Whether nothing older is wanted."""

    @property
    def day(self) -> date:
        return date.fromisoformat(self.place.removeprefix(object_keys.AUDIT).partition("/")[0])


class AuditLog:
    """The audit in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def write(self, entry: AuditEntry, repeated: str | None = None) -> None:
        """Store an entry.

        Args:
            entry: The entry.
            repeated: What tells the entry apart from all others of its time, if it may be written again: it is one
                entry then. None if it is written once.

        Raises:
            StoreError: The store failed.
        """
        await self._store.put(AuditName.of(entry, repeated).key, entry.model_dump_json().encode())

    async def list_page(self, wanted: AuditFilter, *, limit: int, after: str | None = None) -> AuditPage:
        """Return entries, the newest first.

        A page examines a limited number of keys, so it may be shorter than `limit` although another page follows.

        Args:
            wanted: Which entries.
            limit: The maximum number of entries.
            after: `next_place` of the page before.

        Raises:
            ValueError: `after` is no such place.
            StoreError: The store cannot be read.
        """
        search = _Search(after or _newest(wanted.until), [])
        day = search.day
        oldest = await self._oldest_day()
        if oldest is None or day < oldest:
            return AuditPage([], None)
        first = max(oldest, wanted.since.astimezone(UTC).date()) if wanted.since else oldest
        while not search.is_over and search.day >= first:
            if search.days == _MAX_DAYS or search.examined >= _MAX_EXAMINED or len(search.found) == limit:
                return AuditPage(await self._read(search.found, wanted), search.place)
            await self._search_day(search, wanted, limit)
        return AuditPage(await self._read(search.found, wanted), None)

    async def remove_before(self, day: date, deadline: float) -> int:
        """Remove the entries of all days before this one, and return how many they were.

        Args:
            day: The first day that stays, in UTC.
            deadline: Time of the event loop's clock after which the rest is left for another call.

        Raises:
            StoreError: The store fails; repeating helps.
        """
        loop = asyncio.get_running_loop()
        removed = 0
        due: list[AuditName] = []
        async with aclosing(self._names()) as names:
            async for name in names:
                if name.time.date() >= day or loop.time() > deadline:
                    break
                due.append(name)
                if len(due) == _CONCURRENT:
                    removed, due = removed + await self._remove(due), []
        return removed + await self._remove(due)

    async def _remove(self, due: list[AuditName]) -> int:
        await asyncio.gather(*(self._store.delete(name.key) for name in due))
        return len(due)

    async def _oldest_day(self) -> date | None:
        async with aclosing(self._names()) as names:
            return await anext((name.time.date() async for name in names), None)

    async def _search_day(self, search: _Search, wanted: AuditFilter, limit: int) -> None:
        """Search the rest of the day that the search has come to, or as much of it as one page may examine."""
        day = search.day
        async with aclosing(self._names(_begin_of(day), search.place)) as names:
            async for name in names:
                if wanted.since is not None and name.time < wanted.since:
                    search.is_over = True
                    return
                if wanted.may_want(name):
                    if len(search.found) == limit:
                        return  # There is another one, so there is another page.
                    search.found.append(name)
                search.place = name.place
                search.examined += 1
                if search.examined == _MAX_EXAMINED:
                    return
        search.place = _begin_of(day - _DAY)
        search.days += 1

    async def _read(self, found: list[AuditName], wanted: AuditFilter) -> list[AuditEntry]:
        """Read these entries, without those that were removed meanwhile, or turn out not to be wanted."""
        texts = await asyncio.gather(*(self._store.get(name.key) for name in found))
        entries = [AuditEntry.model_validate_json(text) for text in texts if text is not None]
        return [entry for entry in entries if wanted.wants(entry)]

    async def _names(self, prefix: str = object_keys.AUDIT, after: str = "") -> AsyncGenerator[AuditName]:
        """Yield the names of entries by day, and of each day the newest first. Raises StoreError."""
        async for entry in self._store.entries(prefix, after=after):
            name = AuditName.read(entry.key)
            if name is not None:  # else Callboard did not write it
                yield name


def _newest(until: datetime | None) -> str:
    """Return where a list begins that has all entries before then, or all of them."""
    now = datetime.now(UTC)
    if until is None or until > now:
        return _begin_of(now.date())
    until = until.astimezone(UTC)
    return f"{_begin_of(until.date())}{_left_of_day(until)}~"


def log_entry(entry: AuditEntry) -> None:
    """Write the entry to the log."""
    fields = entry.model_dump(mode="json", by_alias=True, exclude={"time"}, exclude_none=True)
    log.info("%s", describe_entry(entry), extra={"audit": {"event": "audit", **fields}})


def log_lost_entry(entry: AuditEntry, why: str) -> None:
    """Write to the log that the store has not taken this entry, which the log has."""
    log.error("This entry of the audit is in the log only: %s. %s", why.rstrip("."), describe_entry(entry))


def describe_entry(entry: AuditEntry) -> str:
    """Return the entry as a line. A name of a key is written as JSON, so that it can be no other line."""
    actor = entry.actor.id if entry.actor.name is None else f"{json.dumps(entry.actor.name)} ({entry.actor.id})"
    subject = [f"project {entry.project}"] if entry.project else []
    subject += [f"{name} {value}" for name, value in entry.ids.items()]
    if entry.refused_action is not None:
        subject.append(f"refused {entry.refused_action}")
    if entry.missing_scope is not None:
        subject.append(f"missing scope {entry.missing_scope}")
    said = "".join(f", {each}" for each in subject)
    status = entry.status or "client left"
    return f"audit: {entry.action} by {actor}{said} -> {status} [{entry.client}, {entry.correlation_id}]"
