"""The activity that collects the environment variables of an Attempt and seals them for its Machine.

It is a local activity of the workflow, so it runs on workers with the role `control`: those with Machines have no
permission to read variables, and get what one Attempt needs.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field

from temporalio import activity
from temporalio.client import Client

from callboard.projects.secret_references import SecretSources
from callboard.projects.variables import DevFolders, Variable, Variables
from callboard.schemas.errors import NotFound
from callboard.schemas.rest.env_vars import VariableScope
from callboard.schemas.rest.login_parameters import references_in
from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import (
    AttemptInput,
    AttemptKind,
    AttemptVariable,
    AttemptVariables,
    ResolvedSecret,
    SealedVariables,
    VariableSource,
)
from callboard.schemas.workflow.auth import AuthSessionType
from callboard.security import seal_context
from callboard.security.keyring import KeyRing
from callboard.settings import Settings
from callboard.storage import object_keys
from callboard.storage.store import Store
from callboard.temporal.auth_sessions import AuthSessions

_INLINE_LIMIT = 4_000
"""Most characters of sealed variables that a history takes, twice for each Attempt; more of them go to the store."""

_MOST_REMEMBERED = 10_000
"""Most AuthSessions whose references are remembered."""
_PLACES = ("HOME", "TMPDIR")
"""Variables that say where an Attempt works. A project's `.env` cannot change them."""


@dataclass(frozen=True, kw_only=True)
class VariableActivities:
    """The activity `collect_variables`, for the workflows of Runs."""

    variables: Variables
    store: Store
    keyring: KeyRing
    sources: SecretSources
    """Where other secrets are, to which parameters of AuthSessions refer."""
    auth_sessions: AuthSessions
    scope: VariableScope
    """Which variables Attempts see here."""
    dev: DevFolders | None
    """The project folders whose `.env` goes over them, in `callboard dev` only."""
    references: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]], init=False)
    """References in the parameters below a key of the store, which are never written twice."""

    @classmethod
    def of(cls, settings: Settings, client: Client, store: Store) -> VariableActivities:
        """Return the activity of a worker with these settings. Raises ConfigurationError if one of them is wrong."""
        keyring = KeyRing.of(settings)
        return cls(
            variables=Variables(settings.workspace, store, keyring),
            store=store,
            keyring=keyring,
            sources=SecretSources.of(
                settings.secrets_dir, settings.vault_url, settings.vault_token, settings.egress_allow
            ),
            auth_sessions=AuthSessions(client),
            scope=VariableScope.seen_in(settings.environment),
            dev=None if settings.dev_projects is None else DevFolders(settings.dev_projects),
        )

    @activity.defn(name=names.COLLECT_VARIABLES)
    async def collect_variables(self, input: AttemptInput) -> SealedVariables | None:
        """Return the variables that the Attempt is to have, sealed for its Run; None if there are none.

        With them comes what the parameters of its AuthSession refer to.

        Raises:
            StoreError, Unavailable: The store, or Temporal, failed; repeating may help.
            SealError, ConfigurationError: A variable cannot be opened, or the project's `.env` cannot be read.
        """
        variables = await self._collect(input.project)
        secrets: dict[str, ResolvedSecret] = {}
        if references := await self._find_references(input):
            seen = {variable.name: variable.value for variable in variables}
            secrets = await self.sources.resolve(references, input.project, seen)
        collected = AttemptVariables(variables=variables, secrets=secrets)
        if collected == AttemptVariables():
            return None
        text = collected.model_dump_json(exclude_none=True)
        bound_to = seal_context.run_variables(input.workspace, input.project, input.run_id)
        token = self.keyring.seal(text, bound_to=bound_to)
        if len(token) <= _INLINE_LIMIT:
            return SealedVariables(token=token)
        # The same variables have the same key, so that the Attempts of a Run write it once as long as nothing changes.
        digest = self.keyring.fingerprints(text.encode(), bound_to=bound_to)[0]
        key = object_keys.run_variables(input.project, input.run_id, digest)
        if not await self.store.exists(key):
            await self.store.put(key, token.encode("ascii"))
        return SealedVariables(key=key)

    async def _find_references(self, attempt: AttemptInput) -> frozenset[str]:
        """Return the references in the parameters that the Attempt's login is made from, if it is made from any."""
        if (auth := attempt.auth) is None or auth.ref.type is AuthSessionType.RECORDER:
            return frozenset()
        key = auth.parameters_key if attempt.kind is AttemptKind.CREATE else None
        if attempt.kind is not AttemptKind.CREATE:
            login = auth.initial_login
            if login is None:
                with suppress(NotFound):  # the Attempt will say so
                    login = (await self.auth_sessions.get(attempt.workspace, attempt.project, auth.ref.owner)).login
            key = login and login.parameters_key
        if key is None:
            return frozenset()
        if key not in self.references:
            if (token := await self.store.get(key)) is None:  # the Attempt will say so
                return frozenset()
            bound_to = seal_context.auth_session(attempt.workspace, attempt.project, auth.ref.owner)
            parameters = json.loads(self.keyring.open(token.decode("ascii", "replace"), bound_to=bound_to))
            if len(self.references) >= _MOST_REMEMBERED:
                self.references.clear()
            self.references[key] = frozenset(references_in(parameters))
        return self.references[key]

    async def _collect(self, project: str) -> tuple[AttemptVariable, ...]:
        """Return all variables, by name: of those with the same name the one of the project, or of its `.env`."""
        of_workspace, own = await self.variables.of_project(project, self.scope)
        found = [*_from(of_workspace, VariableSource.WORKSPACE), *_from(own, VariableSource.PROJECT)]
        seen = {variable.name: variable for variable in found}
        if self.dev is not None:
            for name, value in (await asyncio.to_thread(self.dev.read_variables, project)).items():
                if name not in _PLACES:
                    secret = name in seen and seen[name].secret
                    seen[name] = AttemptVariable(name=name, value=value, secret=secret, source=VariableSource.FILE)
        return tuple(seen[name] for name in sorted(seen))


def _from(variables: list[Variable], source: VariableSource) -> list[AttemptVariable]:
    return [
        AttemptVariable(name=variable.name, value=variable.value, secret=variable.secret, source=source)
        for variable in variables
    ]
