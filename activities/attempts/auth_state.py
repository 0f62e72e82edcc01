"""Load and save the browser state of AuthSessions for Attempts: sealed artifacts, and signals to the AuthSession."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.store_retry import retry_store
from schemas.errors import NotFound, StoreError
from schemas.workflow import names
from schemas.workflow.attempt import AUTH_SESSION_GONE, NO_LOGIN, AttemptInput, AttemptKind
from schemas.workflow.auth import AttemptAuth, AuthSessionStatus, CheckReport, LoginState, SavedBack
from schemas.workflow.auth_session import AuthSessionView
from security import seal_context
from security.keyring import KeyRing
from security.secret_detection import secrets_of_parameters, secrets_of_state
from storage import keys
from storage.store import Store
from temporal.auth_sessions import AuthSessions

log = logging.getLogger(__name__)

_PATIENCE = timedelta(minutes=10)
"""How long an Attempt waits for a store that does not return its browser state."""
_SAVE_PATIENCE = timedelta(seconds=30)
"""How long a successful Attempt waits for a store that does not take its changed browser state: that is only the
newer of two good ones."""
_LOOKS = 3
"""How often the state is looked up: it can be replaced between looking up its key and reading it."""


@dataclass(frozen=True)
class AuthState:
    """The browser state and the parameters that an Attempt begins with, in the clear; they are held in memory only."""

    state: LoginState | None = None
    text: str | None = field(default=None, repr=False)
    """JSON text of the browser state."""
    parameters: str | None = field(default=None, repr=False)
    """JSON text of the parameters that the browser state was, or is to be, created from."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Values that must be masked."""
    expired: bool = False
    """Whether the AuthSession counts as expired."""


class AuthStates:
    """Loads and saves the browser states of AuthSessions."""

    def __init__(self, client: Client, store: Store, keyring: KeyRing) -> None:
        self._client = client
        self._store = store
        self._keyring = keyring
        self._sessions = AuthSessions(client)

    async def begin(
        self,
        order: AttemptInput,
        auth: AttemptAuth,
        secret_parameters: tuple[str, ...],
    ) -> AuthState:
        """Return what an Attempt of this AuthSession begins with.

        Raises:
            ApplicationError: Of type `AuthSessionGone`, or `NoLogin` where there is nothing to check.
            SealError, ConfigurationError: What is sealed cannot be opened.
            StoreError, Unavailable: The store or Temporal did not answer for minutes.
        """
        if order.kind is AttemptKind.CREATE:
            return self._opened(order, auth, None, None, await self._get(auth.parameters_key), secret_parameters)
        state, expired, seen = auth.state, False, 0
        for _ in range(_LOOKS):
            if state is None:
                view = await self._view(order, auth)
                state, expired = view.state, view.status is AuthSessionStatus.EXPIRED
            if state is None:
                raise _no_login(order, auth.ref.id, seen)
            token, parameters = await asyncio.gather(self._get(state.key), self._get(state.parameters_key))
            if token is not None:
                return self._opened(order, auth, state, token, parameters, secret_parameters, expired=expired)
            seen, state = state.login, None  # replaced meanwhile: the current state does as well, or better
        raise _no_login(order, auth.ref.id, seen)

    async def made(self, order: AttemptInput, auth: AttemptAuth, text: str) -> LoginState:
        """Store the browser state that a Create has left. Raises StoreError."""
        key = await self._put(order, auth, text, within=_PATIENCE)
        return LoginState(login=auth.login, key=key, parameters_key=auth.parameters_key)

    async def good(
        self, order: AttemptInput, auth: AttemptAuth, login: AuthState, text: str | None
    ) -> LoginState | None:
        """Save back the browser state of a successful Attempt if it changed, and return the state that is current now.

        A failure here costs the change and nothing else.
        """
        if login.expired and order.kind is AttemptKind.CHECK and login.state is not None:
            await self._tell(order, auth, names.CHECKED, CheckReport(login=login.state.login, good=True))
        if text is None or login.state is None or not auth.save_back:
            return login.state
        try:
            key = await self._put(order, auth, text, within=_SAVE_PATIENCE)
        except StoreError:
            log.exception("Run %s: what the site changed of AuthSession %s is lost", order.run_id, auth.ref.id)
            return login.state
        await self._tell(order, auth, names.SAVED_BACK, SavedBack(before=login.state.key, after=key))
        return login.state.model_copy(update={"key": key})

    def _opened(
        self,
        order: AttemptInput,
        auth: AttemptAuth,
        state: LoginState | None,
        token: bytes | None,
        parameters_token: bytes | None,
        secret_parameters: tuple[str, ...],
        *,
        expired: bool = False,
    ) -> AuthState:
        text, parameters = (self._open(order, auth, sealed) for sealed in (token, parameters_token))
        hidden: set[str] = set()
        if parameters is not None:
            hidden |= secrets_of_parameters(_object(parameters), secret_parameters)
        if text is not None:
            hidden |= secrets_of_state(_object(text))
        return AuthState(state, text, parameters, tuple(sorted(hidden)), expired)

    def _open(self, order: AttemptInput, auth: AttemptAuth, token: bytes | None) -> str | None:
        if token is None:
            return None
        bound_to = seal_context.auth_session(order.workspace, order.project, auth.ref.owner)
        return self._keyring.open(token.decode("ascii", "replace"), bound_to=bound_to)

    async def _view(self, order: AttemptInput, auth: AttemptAuth) -> AuthSessionView:
        try:
            return await self._sessions.view(order.workspace, order.project, auth.ref.owner)
        except NotFound as error:
            message = f"AuthSession {auth.ref.id!r} is not there any more: it was deleted."
            raise ApplicationError(message, order.number, type=AUTH_SESSION_GONE, non_retryable=True) from error

    async def _get(self, key: str | None) -> bytes | None:
        return None if key is None else await retry_store(_PATIENCE, lambda: self._store.get(key))

    async def _put(self, order: AttemptInput, auth: AttemptAuth, text: str, *, within: timedelta) -> str:
        bound_to = seal_context.auth_session(order.workspace, order.project, auth.ref.owner)
        token = self._keyring.seal(text, bound_to=bound_to).encode("ascii")
        key = keys.auth_session_state(order.project, auth.ref.owner, secrets.token_hex(8))
        await retry_store(within, lambda: self._store.put(key, token))
        return key

    async def _tell(self, order: AttemptInput, auth: AttemptAuth, signal: str, note: SavedBack | CheckReport) -> None:
        handle = self._client.get_workflow_handle(names.auth_session_workflow(order.project, auth.ref.owner))
        try:
            await handle.signal(signal, note)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:  # the AuthSession may have been deleted
                log.warning("AuthSession %s was not told (%s): %s", auth.ref.id, signal, error.message)


def _object(text: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(text)
    return value


def _no_login(order: AttemptInput, auth_session: str, seen: int) -> ApplicationError:
    message = f"AuthSession {auth_session!r} has no login yet."
    if seen:
        message = f"The login of AuthSession {auth_session!r} is not in the artifact store any more."
    return ApplicationError(message, seen, order.number, type=NO_LOGIN, non_retryable=True)
