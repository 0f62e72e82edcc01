"""A project's `persistent_store` (docs/contract.md, section 3.2): values that outlive their Run."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from activities.store_retry import retry_store
from schemas.errors import BadRequest, StoreError
from schemas.workflow.auth import AuthSessionRef, AuthSessionType
from storage import keys
from storage.store import Store

_PATIENCE = timedelta(seconds=30)
"""User code waits for the answer, on its Attempt's clock."""


class ProjectValues:
    """What the Attempts of one project may ask for. A write is atomic; of two at once, the later one stays."""

    def __init__(self, store: Store, project: str) -> None:
        self._store = store
        self._project = project

    async def persistent_get(self, key: str) -> str | None:
        """JSON text of the value, or None. Raises StoreError, also where what is stored is none of ours."""
        place = keys.persistent_value(self._project, key)
        stored = await retry_store(_PATIENCE, lambda: self._store.get(place))
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
        """Keep JSON text as the value. Raises StoreError."""
        body = json.dumps({"key": key, "value": json.loads(value)}).encode()
        place = keys.persistent_value(self._project, key)
        await retry_store(_PATIENCE, lambda: self._store.put(place, body))

    async def auth_session_parameters(self) -> str:
        """There is none. Raises BadRequest."""
        raise BadRequest("get_auth_session_parameters: this Run has no AuthSession.")


class LoginValues(ProjectValues):
    """The same for an Attempt that has an AuthSession."""

    def __init__(self, store: Store, project: str, ref: AuthSessionRef, parameters: str | None) -> None:
        super().__init__(store, project)
        self._ref = ref
        self._parameters = parameters

    async def auth_session_parameters(self) -> str:
        """JSON text of what the AuthSession was made from (docs/contract.md, section 3.2).

        Raises:
            BadRequest: It was not made from credentials that are stored.
        """
        if self._ref.type is not AuthSessionType.CREDENTIALS or self._parameters is None:
            made = "was recorded" if self._ref.type is AuthSessionType.RECORDER else "lives for this Run alone"
            raise BadRequest(f"get_auth_session_parameters: AuthSession {self._ref.id!r} {made}: it has none.")
        return self._parameters
