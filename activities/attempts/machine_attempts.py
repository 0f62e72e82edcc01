"""Run one Attempt on a Machine: prepare what it needs, have the project's pool execute it, and build its outcome."""

from __future__ import annotations

import asyncio
import json

from activities.attempts.attempt_outcomes import AttemptOutcomes, access_disabled, not_started, store_failed
from activities.attempts.attempt_preparation import AttemptPreparation
from activities.attempts.attempt_progress import AttemptProgress
from activities.attempts.log_recovery import persist_masking_secrets
from activities.store_retry import ATTEMPT_STORE_TIMEOUT, retry_store
from activities.workers.machine_pools import MachinePools
from machines.attempt_masker import masker_for
from machines.room_wait import RoomTimeoutError
from projects.catalog import Catalog
from schemas.errors import ConfigurationError, MachineError, SealError, StoreError, Unavailable
from schemas.workflow.attempt import AttemptInput, AttemptKind, AttemptOutcome, AttemptStatus
from schemas.workflow.run import QUEUE_TIMED_OUT
from security.keyring import KeyRing
from security.masking import Masker
from security.secret_detection import find_secrets_in_state


class MachineAttempts:
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

    async def execute(self, attempt: AttemptInput, progress: AttemptProgress) -> AttemptOutcome:
        """Run the Attempt, and note in `state` what becomes known of it. A cancel stops it on its Machine.

        Raises:
            ApplicationError: Of type `NoLogin` or `AuthSessionGone`: the Attempt has no login to begin with.
        """
        try:
            if not await self._is_access_enabled(attempt):
                return access_disabled(attempt.project)
            prepared = await self._preparation.prepare(attempt, progress)
            # In a thread: a state may be large, and hold secrets by the thousand.
            self._set_masker(attempt, progress, await asyncio.to_thread(masker_for, prepared.spec))
            report = await self._pools[attempt.project].run(prepared.version, prepared.spec, progress.mark_started)
            progress.attributes = report.attributes or None
            if report.storage_state is not None:  # what the site has set in the meantime is secret, too
                masker = await asyncio.to_thread(_with_secrets_of, report.storage_state, progress.masker)
                self._set_masker(attempt, progress, masker)
            return await self._outcomes.from_report(attempt, report, prepared.opened_login)
        except (MachineError, ConfigurationError, SealError, Unavailable) as error:
            return not_started(error.message)
        except RoomTimeoutError:
            return AttemptOutcome(status=AttemptStatus.FAILED, error=QUEUE_TIMED_OUT, final=True)
        except StoreError as error:
            return store_failed(error.message)

    async def _is_access_enabled(self, attempt: AttemptInput) -> bool:
        """Tell whether the project's API access is on, by the version that is deployed now, not by the Run's.

        Only Runs of APIs need it that do not belong to a JobRun.
        """
        if attempt.kind is not AttemptKind.API or attempt.job is not None:
            return True
        current = await retry_store(ATTEMPT_STORE_TIMEOUT, lambda: self._catalog.get_current(attempt.project))
        return current is None or current.settings.api_access.enabled

    def _set_masker(self, attempt: AttemptInput, progress: AttemptProgress, masker: Masker) -> None:
        """Mask with `masker` from here on, and persist its secrets for a worker that has to recover the log."""
        progress.set_masker(masker)
        persist_masking_secrets(progress.evidence.folder, attempt, masker, self._keyring)


def _with_secrets_of(storage_state: str, masker: Masker) -> Masker:
    return masker.with_secrets(find_secrets_in_state(json.loads(storage_state)))
