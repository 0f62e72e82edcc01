"""Answer what user code asks of the runtime (docs/contract.md, section 3.2): stored values, and login parameters."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from activities.attempts.handoffs import AttemptHandoffs
from activities.store_retry import retry_store
from callboard.schemas.errors import BadRequest, ConfigurationError, StoreError
from callboard.schemas.workflow.auth import AuthSessionRef, AuthSessionType
from callboard.schemas.workflow.handoff import HandoffKind
from callboard.storage import object_keys
from callboard.storage.store import Store

_STORE_TIMEOUT = timedelta(seconds=30)
"""How long the store is retried: user code waits for the answer, on its Attempt's clock."""

_KNOWN_FOR = 10.0
"""Seconds for which what was listed counts."""
_SMALLEST = 1024
"""Bytes as which a smaller value counts: objects cost a store something however small they are."""


@dataclass(frozen=True)
class RuntimeServices:
    """Services for one Attempt. A write is atomic; of two concurrent ones, the later one stays.

    A value is text here: whether it is JSON is checked where it is made and used, which is in user code's own process.
    """

    store: Store
    """The artifact store, where the values are."""
    project: str
    """The project whose values the Attempt shares."""
    quota: StoreQuota
    """How much may be stored."""
    handoffs: AttemptHandoffs | None = None
    """What asks people; None if nobody is asked."""
    auth_session: AuthSessionRef | None = None
    """The AuthSession of the Attempt, if it has one."""
    parameters: str | None = field(default=None, repr=False)
    """JSON text of what that AuthSession was made from, if that is known."""
    parameters_problem: str | None = None
    """Why a secret is missing in the parameters; None if none is."""

    async def answer_request(self, operation: str, arguments: dict[str, Any]) -> str | None:
        """Answer a request of user code. Raises CallboardError, with a sentence as its message."""
        match operation:
            case "persistent_get":
                return await self.persistent_get(arguments["key"])
            case "persistent_set":
                return await self.persistent_set(arguments["key"], arguments["value"])
            case "auth_session_parameters":
                return await self.auth_session_parameters()
            case "request_input" if self.handoffs is not None:
                return await self.handoffs.ask(HandoffKind.INPUT, arguments)
            case "hand_over" if self.handoffs is not None:
                return await self.handoffs.ask(HandoffKind.BROWSER, arguments)
            case "withdraw" if self.handoffs is not None:
                return self.handoffs.withdraw(arguments)
            case "until_holds" if self.handoffs is not None:
                return self.handoffs.complete(arguments)
            case _:
                raise ValueError(f"no such operation: {operation}")

    async def persistent_get(self, key: str) -> str | None:
        """Return the JSON text of the value, or None.

        Raises StoreError, also if what is stored was not written by Callboard.
        """
        place = object_keys.persistent_value(self.project, key)
        stored = await retry_store(_STORE_TIMEOUT, lambda: self.store.get(place))
        if stored is None:
            return None
        begin = _begin(key)
        if not (stored.startswith(begin) and stored.endswith(_END) and stored.isascii()):
            raise StoreError(
                f"persistent_store: the value of {key!r:.100} is damaged in the artifact store ({place}). Set it anew."
            )
        return stored[len(begin) : -len(_END)].decode("ascii")

    async def persistent_set(self, key: str, value: str) -> None:
        """Store JSON text as the value; `null` removes what is stored.

        Raises:
            BadRequest: The project's store is full.
            StoreError: The store failed.
        """
        place = object_keys.persistent_value(self.project, key)
        body = b"" if value == "null" else _begin(key) + value.encode("ascii") + _END
        old = await retry_store(_STORE_TIMEOUT, lambda: self.store.get(place)) or b""
        await retry_store(_STORE_TIMEOUT, lambda: self.quota.replace(self.project, len(old), len(body)))
        await retry_store(_STORE_TIMEOUT, lambda: self.store.put(place, body) if body else self.store.delete(place))

    async def auth_session_parameters(self) -> str:
        """Return the parameters that the AuthSession was made from, as JSON text (docs/contract.md, section 3.2).

        Raises:
            BadRequest: There is no AuthSession, or it was not made from stored credentials.
            ConfigurationError: A secret is missing that they refer to.
        """
        if self.auth_session is None:
            raise BadRequest("get_auth_session_parameters: this Run has no AuthSession.")
        if self.auth_session.type is not AuthSessionType.CREDENTIALS or self.parameters is None:
            made = "was recorded" if self.auth_session.type is AuthSessionType.RECORDER else "lives for this Run alone"
            raise BadRequest(f"get_auth_session_parameters: AuthSession {self.auth_session.id!r} {made}: it has none.")
        if self.parameters_problem is not None:
            raise ConfigurationError(f"get_auth_session_parameters: {self.parameters_problem}")
        return self.parameters


_END = b"}"


def _begin(key: str) -> bytes:
    """Return what stands before the value in an object: it has the key for people who look at the store."""
    return b'{"key": %s, "value": ' % json.dumps(key).encode("ascii")


class StoreQuota:
    """Holds the values of each project of this worker within a limit (docs/contract.md, section 3.2).

    An artifact store counts nothing, and has no counter that several workers could share. So each worker lists what
    there is, at most every ten seconds, and adds what it has written itself since. Workers that write at the same time
    may pass the limit together once, by what they write within these seconds.
    """

    def __init__(self, store: Store, limit: int) -> None:
        """Set up without listing anything yet. A project's values may take `limit` bytes."""
        self._store = store
        self._limit = limit
        self._used = defaultdict[str, int](int)
        self._known_until = defaultdict[str, float](float)
        self._turns = defaultdict[str, asyncio.Lock](asyncio.Lock)

    async def replace(self, project: str, old: int, new: int) -> None:
        """Count a value of `new` bytes in place of one of `old` bytes; 0 stands for none.

        What does not grow is always taken, also where a project has more than it may.

        Raises:
            BadRequest: The project's values would pass the limit; the message is a sentence.
            StoreError: They could not be listed.
        """
        growth = _counted(new) - _counted(old)
        async with self._turns[project]:
            if growth > 0 and time.monotonic() > self._known_until[project]:
                sizes = [
                    _counted(entry.size) async for entry in self._store.entries(object_keys.persistent_values(project))
                ]
                self._used[project], self._known_until[project] = sum(sizes), time.monotonic() + _KNOWN_FOR
            used = self._used[project] + growth
            if growth > 0 and used > self._limit:
                raise BadRequest(
                    f"persistent_store: the store of project {project} is full: with this value, its values would take "
                    f"{used} bytes of at most {self._limit} (CALLBOARD_STORE_LIMIT). Set to None what is not needed."
                )
            self._used[project] = used


def _counted(size: int) -> int:
    return max(size, _SMALLEST) if size else 0
