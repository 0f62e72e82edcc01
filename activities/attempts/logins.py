"""Load and save the browser state of AuthSessions for Attempts: sealed artifacts, and signals to the AuthSession."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from activities.store_retry import ATTEMPT_STORE_TIMEOUT, retry_store
from callboard.schemas.errors import NotFound, StoreError
from callboard.schemas.rest.login_parameters import references_in, with_references_replaced
from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import AUTH_SESSION_GONE, NO_LOGIN, AttemptInput, AttemptKind, ResolvedSecret
from callboard.schemas.workflow.auth import AttemptAuth, AuthSessionStatus, CheckReport, LoginState, SavedBack
from callboard.schemas.workflow.auth_session import AuthSessionView
from callboard.security import seal_context
from callboard.security.keyring import KeyRing
from callboard.security.secret_detection import find_secrets_in_parameters
from callboard.storage import object_keys
from callboard.storage.store import Store
from callboard.temporal.auth_sessions import AuthSessions
from callboard.temporal.rpc_errors import signal_if_running

log = logging.getLogger(__name__)

_REFRESHED_STORE_TIMEOUT = timedelta(seconds=30)
"""How long a successful Attempt waits for a store that does not take its changed browser state: that is only the
newer of two good ones."""
_LOOKUPS = 3
"""How often the state is looked up: it can be replaced between looking up its key and reading it."""


@dataclass(frozen=True)
class OpenedLogin:
    """The browser state and the parameters that an Attempt begins with, in the clear; they are held in memory only."""

    login: LoginState | None = None
    storage_state: str | None = field(default=None, repr=False)
    """JSON text of the browser state."""
    parameters: str | None = field(default=None, repr=False)
    """JSON text of the parameters that the browser state was, or is to be, created from."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Values of the parameters that must be masked; those of the browser state are found in it."""
    expired: bool = False
    """Whether the AuthSession counts as expired."""
    problem: str | None = None
    """Why a secret is missing that the parameters refer to; None if none is."""


class Logins:
    """Loads and saves the browser states of AuthSessions."""

    def __init__(self, client: Client, store: Store, keyring: KeyRing) -> None:
        self._client = client
        self._store = store
        self._keyring = keyring
        self._sessions = AuthSessions(client)

    async def load(
        self,
        attempt: AttemptInput,
        auth: AttemptAuth,
        secret_parameters: tuple[str, ...],
        secrets: Mapping[str, ResolvedSecret],
    ) -> OpenedLogin:
        """Return what an Attempt of this AuthSession begins with.

        Args:
            attempt: The Attempt.
            auth: Its AuthSession.
            secret_parameters: Names of further parameters whose values are secret.
            secrets: What references in the parameters stand for.

        Raises:
            ApplicationError: Of type `AuthSessionGone`, or `NoLogin` where there is nothing to check.
            SealError, ConfigurationError: What is sealed cannot be opened.
            StoreError, Unavailable: The store or Temporal did not answer for minutes.
        """
        if attempt.kind.makes_login:
            parameters = await self._fetch(auth.parameters_key)
            return self._decrypt(attempt, auth, None, None, parameters, secret_parameters, secrets)
        login, expired, missing_version = auth.initial_login, False, 0
        for _ in range(_LOOKUPS):
            if login is None:
                view = await self._view(attempt, auth)
                login, expired = view.login, view.status is AuthSessionStatus.EXPIRED
            if login is None:
                raise _no_login(attempt, auth.ref.id, missing_version)
            token, parameters = await asyncio.gather(self._fetch(login.key), self._fetch(login.parameters_key))
            if token is not None:
                opening = partial(self._decrypt, attempt, auth, login, token, parameters, secret_parameters, secrets)
                return await asyncio.to_thread(opening, expired=expired)  # a state may have many megabytes
            # It was replaced meanwhile: the current state does as well, or better.
            missing_version, login = login.login_version, None
        raise _no_login(attempt, auth.ref.id, missing_version)

    async def save_created(self, attempt: AttemptInput, auth: AttemptAuth, storage_state: str) -> LoginState:
        """Store the browser state that a create or a record has left. Raises StoreError."""
        key = await self._seal_and_store(attempt, auth, storage_state, within=ATTEMPT_STORE_TIMEOUT)
        return LoginState(login_version=auth.new_login_version, key=key, parameters_key=auth.parameters_key)

    async def save_refreshed(
        self, attempt: AttemptInput, auth: AttemptAuth, opened: OpenedLogin, storage_state: str | None
    ) -> LoginState | None:
        """Save back the browser state of a successful Attempt if it changed, and return the state that is current now.

        A failure here costs the change and nothing else.
        """
        if opened.expired and attempt.kind is AttemptKind.CHECK and opened.login is not None:
            await self._signal(
                attempt, auth, names.CHECKED, CheckReport(login_version=opened.login.login_version, good=True)
            )
        if storage_state is None or opened.login is None or not auth.save_back:
            return opened.login
        try:
            key = await self._seal_and_store(attempt, auth, storage_state, within=_REFRESHED_STORE_TIMEOUT)
        except StoreError:
            log.exception("Run %s: what the site changed of AuthSession %s is lost", attempt.run_id, auth.ref.id)
            return opened.login
        await self._signal(attempt, auth, names.SAVED_BACK, SavedBack(before=opened.login.key, after=key))
        return opened.login.model_copy(update={"key": key})

    def _decrypt(
        self,
        attempt: AttemptInput,
        auth: AttemptAuth,
        login: LoginState | None,
        token: bytes | None,
        parameters_token: bytes | None,
        secret_parameters: tuple[str, ...],
        secrets: Mapping[str, ResolvedSecret],
        *,
        expired: bool = False,
    ) -> OpenedLogin:
        text, parameters = (self._open(attempt, auth, sealed) for sealed in (token, parameters_token))
        secret_values: set[str] = set()
        problem: str | None = None
        if parameters is not None:
            parsed: dict[str, Any] = json.loads(parameters)
            if references := set(references_in(parsed)):
                problem = _problem(auth.ref.id, references, secrets)
                parsed = with_references_replaced(parsed, lambda each: secrets[each].value if each in secrets else None)
                parameters = json.dumps(parsed)
            secret_values = find_secrets_in_parameters(parsed, secret_parameters)
        return OpenedLogin(login, text, parameters, tuple(sorted(secret_values)), expired, problem)

    def _open(self, attempt: AttemptInput, auth: AttemptAuth, token: bytes | None) -> str | None:
        if token is None:
            return None
        bound_to = seal_context.auth_session(attempt.workspace, attempt.project, auth.ref.owner)
        return self._keyring.open(token.decode("ascii", "replace"), bound_to=bound_to)

    async def _view(self, attempt: AttemptInput, auth: AttemptAuth) -> AuthSessionView:
        try:
            return await self._sessions.get(attempt.workspace, attempt.project, auth.ref.owner)
        except NotFound as error:
            message = f"AuthSession {auth.ref.id!r} is not there any more: it was deleted."
            raise ApplicationError(message, attempt.number, type=AUTH_SESSION_GONE, non_retryable=True) from error

    async def _fetch(self, key: str | None) -> bytes | None:
        return None if key is None else await retry_store(ATTEMPT_STORE_TIMEOUT, lambda: self._store.get(key))

    async def _seal_and_store(self, attempt: AttemptInput, auth: AttemptAuth, text: str, *, within: timedelta) -> str:
        bound_to = seal_context.auth_session(attempt.workspace, attempt.project, auth.ref.owner)
        # In a thread: a state may have many megabytes.
        token = (await asyncio.to_thread(self._keyring.seal, text, bound_to=bound_to)).encode("ascii")
        key = object_keys.auth_session_state(attempt.project, auth.ref.owner, secrets.token_hex(8))
        await retry_store(within, lambda: self._store.put(key, token))
        return key

    async def _signal(
        self, attempt: AttemptInput, auth: AttemptAuth, signal: str, payload: SavedBack | CheckReport
    ) -> None:
        workflow_id = names.auth_session_workflow_id(attempt.project, auth.ref.owner)
        try:
            await signal_if_running(self._client, workflow_id, signal, payload)  # it may have been deleted
        except RPCError as error:
            log.warning("AuthSession %s could not be signaled (%s): %s", auth.ref.id, signal, error.message)


def _problem(auth_session: str, references: set[str], secrets: Mapping[str, ResolvedSecret]) -> str | None:
    """Return why the parameters of an AuthSession lack a secret; None if they lack none."""
    for reference in sorted(references):
        if reference not in secrets:
            return f"The parameters of AuthSession {auth_session!r} have changed since the Attempt was queued."
        if (problem := secrets[reference].problem) is not None:
            return f"The parameters of AuthSession {auth_session!r} refer to a secret. {problem}"
    return None


def _no_login(attempt: AttemptInput, auth_session: str, missing_version: int) -> ApplicationError:
    message = f"AuthSession {auth_session!r} has no login yet."
    if missing_version:
        message = f"The login of AuthSession {auth_session!r} is not in the artifact store any more."
    return ApplicationError(message, missing_version, attempt.number, type=NO_LOGIN, non_retryable=True)
