"""Answer what user code asks of the runtime (docs/contract.md, section 3.2): stored values, and login parameters."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from activities.store_retry import retry_store
from schemas.errors import BadRequest, StoreError
from schemas.workflow.auth import AuthSessionRef, AuthSessionType
from storage import keys
from storage.store import Store

_STORE_TIMEOUT = timedelta(seconds=30)
"""How long the store is retried: user code waits for the answer, on its Attempt's clock."""


class RuntimeServices:
    """Services for one Attempt. A write is atomic; of two concurrent ones, the later one stays."""

    def __init__(
        self,
        store: Store,
        project: str,
        *,
        auth_session: AuthSessionRef | None = None,
        parameters: str | None = None,
    ) -> None:
        """Set up without reading anything yet.

        Args:
            store: The artifact store, where the values are.
            project: The project whose values the Attempt shares.
            auth_session: The AuthSession of the Attempt, if it has one.
            parameters: JSON text of what that AuthSession was made from, if that is known.
        """
        self._store = store
        self._project = project
        self._auth_session = auth_session
        self._parameters = parameters

    async def persistent_get(self, key: str) -> str | None:
        """Return the JSON text of the value, or None.

        Raises StoreError, also if what is stored was not written by Callboard.
        """
        place = keys.persistent_value(self._project, key)
        stored = await retry_store(_STORE_TIMEOUT, lambda: self._store.get(place))
        if stored is None:
            return None
        try:
            entry: dict[str, Any] = json.loads(stored)
            return json.dumps(entry["value"])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"persistent_store: the value of {key!r:.100} is damaged in the artifact store ({place}). Set it anew."
            ) from error

    async def persistent_set(self, key: str, value: str) -> None:
        """Store JSON text as the value. Raises StoreError."""
        body = json.dumps({"key": key, "value": json.loads(value)}).encode()
        place = keys.persistent_value(self._project, key)
        await retry_store(_STORE_TIMEOUT, lambda: self._store.put(place, body))

    async def auth_session_parameters(self) -> str:
        """Return the JSON text of what the AuthSession was made from (docs/contract.md, section 3.2).

        Raises:
            BadRequest: There is no AuthSession, or it was not made from stored credentials.
        """
        if self._auth_session is None:
            raise BadRequest("get_auth_session_parameters: this Run has no AuthSession.")
        if self._auth_session.type is not AuthSessionType.CREDENTIALS or self._parameters is None:
            made = "was recorded" if self._auth_session.type is AuthSessionType.RECORDER else "lives for this Run alone"
            raise BadRequest(f"get_auth_session_parameters: AuthSession {self._auth_session.id!r} {made}: it has none.")
        return self._parameters
