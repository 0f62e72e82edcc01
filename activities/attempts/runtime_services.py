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


class ProjectServices:
    """Services for the Attempts of one project. A write is atomic; of two concurrent ones, the later one stays."""

    def __init__(self, store: Store, project: str) -> None:
        self._store = store
        self._project = project

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
        """Raise BadRequest: an Attempt without an AuthSession has no parameters of one."""
        raise BadRequest("get_auth_session_parameters: this Run has no AuthSession.")


class AuthSessionServices(ProjectServices):
    """Services for an Attempt that has an AuthSession."""

    def __init__(self, store: Store, project: str, ref: AuthSessionRef, parameters: str | None) -> None:
        super().__init__(store, project)
        self._ref = ref
        self._parameters = parameters

    async def auth_session_parameters(self) -> str:
        """Return the JSON text of what the AuthSession was made from (docs/contract.md, section 3.2).

        Raises:
            BadRequest: The AuthSession was not made from stored credentials.
        """
        if self._ref.type is not AuthSessionType.CREDENTIALS or self._parameters is None:
            made = "was recorded" if self._ref.type is AuthSessionType.RECORDER else "lives for this Run alone"
            raise BadRequest(f"get_auth_session_parameters: AuthSession {self._ref.id!r} {made}: it has none.")
        return self._parameters
