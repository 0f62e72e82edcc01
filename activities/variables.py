"""The activity that collects the environment variables of an Attempt and seals them for its Machine.

It is a local activity of the workflow, so it runs on workers with the role `control`: those with Machines have no
permission to read variables, and get what one Attempt needs.
"""

from __future__ import annotations

import asyncio

from temporalio import activity

from projects.dotenv import DevFolders
from projects.variables import Variable, Variables
from schemas.rest.env_vars import VariableScope
from schemas.workflow import names
from schemas.workflow.attempt import AttemptInput
from schemas.workflow.variables import AttemptVariable, AttemptVariables, SealedVariables, VariableSource
from security import seal_context
from security.keyring import KeyRing
from storage import keys
from storage.store import Store

_INLINE_LIMIT = 4_000
"""Most characters of sealed variables that a history takes, twice for each Attempt; more of them go to the store."""

_PLACES = ("HOME", "TMPDIR")
"""Variables that say where an Attempt works. A project's `.env` cannot change them."""


class VariableActivities:
    """The activity `collect_variables`, for the workflows of Runs."""

    def __init__(
        self, variables: Variables, store: Store, keyring: KeyRing, scope: VariableScope, dev: DevFolders | None
    ) -> None:
        """Set up without reading anything yet.

        Args:
            variables: Where variables are kept.
            store: The artifact store.
            keyring: The keys that seal them for a Run.
            scope: Which of them Attempts see here.
            dev: The project folders whose `.env` goes over them, in `callboard dev` only.
        """
        self._variables = variables
        self._store = store
        self._keyring = keyring
        self._scope: VariableScope = scope
        self._dev = dev

    @activity.defn(name=names.COLLECT_VARIABLES)
    async def collect_variables(self, input: AttemptInput) -> SealedVariables | None:
        """Return the variables that the Attempt is to have, sealed for its Run; None if there are none.

        Raises:
            StoreError: The store failed; repeating may help.
            SealError, ConfigurationError: A variable cannot be opened, or the project's `.env` cannot be read.
        """
        collected = AttemptVariables(variables=await self._collect(input.project))
        if collected == AttemptVariables():
            return None
        text = collected.model_dump_json(exclude_none=True)
        bound_to = seal_context.run_variables(input.workspace, input.project, input.run_id)
        token = self._keyring.seal(text, bound_to=bound_to)
        if len(token) <= _INLINE_LIMIT:
            return SealedVariables(token=token)
        # The same variables have the same key, so that the Attempts of a Run write it once as long as nothing changes.
        digest = self._keyring.fingerprints(text.encode(), bound_to=bound_to)[0]
        key = keys.run_variables(input.project, input.run_id, digest)
        if not await self._store.exists(key):
            await self._store.put(key, token.encode("ascii"))
        return SealedVariables(key=key)

    async def _collect(self, project: str) -> tuple[AttemptVariable, ...]:
        """Return all variables, by name: of those with the same name the one of the project, or of its `.env`."""
        of_workspace, own = await self._variables.of_project(project, self._scope)
        found = [*_from(of_workspace, VariableSource.WORKSPACE), *_from(own, VariableSource.PROJECT)]
        seen = {variable.name: variable for variable in found}
        if self._dev is not None:
            for name, value in (await asyncio.to_thread(self._dev.read_variables, project)).items():
                if name not in _PLACES:
                    secret = name in seen and seen[name].secret
                    seen[name] = AttemptVariable(name=name, value=value, secret=secret, source=VariableSource.FILE)
        return tuple(seen[name] for name in sorted(seen))


def _from(variables: list[Variable], source: VariableSource) -> list[AttemptVariable]:
    return [
        AttemptVariable(name=variable.name, value=variable.value, secret=variable.secret, source=source)
        for variable in variables
    ]
