"""Sessions of the pages that somebody has signed out of, in the artifact store: so no api accepts them any more.

The store has an object for each, until the session would have ended by itself; the sweep removes it then.
"""

from __future__ import annotations

from callboard.security.sign_in_sessions import Session
from callboard.storage import object_keys
from callboard.storage.believed import Believed
from callboard.storage.store import Store


class EndedSessions:
    """The sessions that were ended. An instance belongs to one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known = Believed(self._read, "The artifact store does not say whether the session was signed out of.")

    async def has(self, session: Session) -> bool:
        """Tell whether the session was ended, by this api at any time or by another one five seconds ago.

        Raises:
            Unavailable: The store did not answer.
        """
        return bool(await self._known.get(_key(session)))

    async def add(self, session: Session) -> None:
        """Sign out: no api accepts the session, even from somebody who has copied its cookie. Raises StoreError."""
        await self._store.put(_key(session), b"")
        self._known.forget(_key(session))

    async def _read(self, key: str) -> bool:
        return await self._store.get(key) is not None


def _key(session: Session) -> str:
    return object_keys.ended_session(session.expires_at, session.nonce)
