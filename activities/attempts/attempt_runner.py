"""Run one Attempt on a Machine: prepare what it needs, have the project's pool execute it, and build its outcome."""

from __future__ import annotations

import json

from activities.attempts.attempt_outcomes import AttemptOutcomes, access_disabled, not_started, store_failed
from activities.attempts.attempt_preparation import STORE_TIMEOUT, AttemptPreparation
from activities.attempts.attempt_state import AttemptState
from activities.attempts.log_recovery import persist_masking_secrets
from activities.store_retry import retry_store
from activities.workers.machine_pools import MachinePools
from machines.attempt_masker import masker_for
from projects.catalog import Catalog
from schemas.errors import ConfigurationError, MachineError, SealError, StoreError, Unavailable
from schemas.workflow.attempt import AttemptInput, AttemptKind, AttemptOutcome
from security.keyring import KeyRing
from security.masking import Masker
from security.secret_detection import find_secrets_in_state


class AttemptRunner:
    """Runs Attempts on the Machines of this worker."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        preparation: AttemptPreparation,
        pools: MachinePools,
        outcomes: AttemptOutcomes,
        keyring: KeyRing,
    ) -> None:
        self._catalog = catalog
        self._preparation = preparation
        self._pools = pools
        self._outcomes = outcomes
        self._keyring = keyring

    async def run(self, attempt: AttemptInput, state: AttemptState) -> AttemptOutcome:
        """Run the Attempt, and note in `state` what becomes known of it. A cancel stops it on its Machine.

        Raises:
            ApplicationError: Of type `NoLogin` or `AuthSessionGone`: the Attempt has no login to begin with.
        """
        try:
            if attempt.kind is AttemptKind.API and not await self._is_access_enabled(attempt.project):
                return access_disabled(attempt.project)
            prepared = await self._preparation.prepare(attempt, state)
            self._set_masker(attempt, state, masker_for(prepared.spec))
            report = await self._pools[attempt.project].run(prepared.version, prepared.spec, state.mark_started)
            state.attributes = report.attributes or None
            if report.storage_state is not None:  # what the site has set in the meantime is secret, too
                new_secrets = find_secrets_in_state(json.loads(report.storage_state))
                self._set_masker(attempt, state, state.masker.with_secrets(new_secrets))
            return await self._outcomes.from_report(attempt, report, prepared.auth_state)
        except (MachineError, ConfigurationError, SealError, Unavailable) as error:
            return not_started(error.message)
        except StoreError as error:
            return store_failed(error.message)

    async def _is_access_enabled(self, project: str) -> bool:
        """Tell whether the project's API access is on, by the version that is deployed now, not by the Run's."""
        current = await retry_store(STORE_TIMEOUT, lambda: self._catalog.get_current(project))
        return current is None or current.settings.api_access.enabled

    def _set_masker(self, attempt: AttemptInput, state: AttemptState, masker: Masker) -> None:
        """Mask with `masker` from here on, and persist its secrets for a worker that has to recover the log."""
        state.set_masker(masker)
        persist_masking_secrets(state.evidence.folder, attempt, masker, self._keyring)
