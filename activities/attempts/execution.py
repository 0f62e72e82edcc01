"""Implement the activities `attempt`, `check` and `create`: one Attempt, from its input to a durable outcome."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError

from activities.attempts.artifact_uploader import ArtifactUploader, UploadedArtifacts
from activities.attempts.attempt_log import DEFAULT_POLICY, LogPolicy, last_line, open_log
from activities.attempts.attempt_records import AttemptRecords, failure, interruption
from activities.attempts.attempt_state import AttemptState
from activities.attempts.auth_state import AuthState, AuthStates
from activities.attempts.log_recovery import persist_masking_secrets
from activities.attempts.running_attempts import Cause, RunningAttempt, RunningAttempts
from activities.attempts.runtime_environment import ProjectEnvironments
from activities.attempts.runtime_services import LoginValues, ProjectValues
from activities.attempts.start_signals import StartSignals
from activities.background import forward_cancellation
from activities.heartbeat import heartbeats
from activities.store_retry import retry_store
from activities.workers.worker_dir import HeldAttempt
from machines.attempt_masker import masker_for
from machines.attempt_spec import AttemptReport, AttemptSpec, Proxy, Version
from machines.evidence import Evidence
from machines.pool import Pool
from machines.trace_redactor import TraceRedactor
from projects.catalog import Catalog
from projects.manifest import Manifest
from projects.versions import VersionFolders
from schemas.errors import ConfigurationError, MachineError, SealError, StoreError, Unavailable
from schemas.workflow import names
from schemas.workflow.attempt import (
    ATTEMPT_FAILED,
    INTERRUPTED,
    AttemptInput,
    AttemptKind,
    AttemptOutcome,
    AttemptStatus,
    FailedAttemptDetails,
    LostInput,
)
from schemas.workflow.base import INLINE_LIMIT, MESSAGE_LIMIT, JsonRef, clip
from schemas.workflow.run import ErrorCode, ReasonType, RunError, RunReason
from security import seal_context
from security.keyring import KeyRing
from security.masking import Masker
from security.secret_detection import secrets_of_state
from storage import keys
from storage.store import Store

log = logging.getLogger(__name__)

STORE_PATIENCE = timedelta(minutes=10)
"""How long a result waits for a store that fails, before its Run fails."""
RECORD_PATIENCE = timedelta(seconds=30)
"""How long an outcome waits for its record to be written: a lost record fails nothing, and must not hold up a Run."""
LAST_WORDS_PATIENCE = timedelta(seconds=5)
"""How long the outcome of a stopped Attempt waits for its record: somebody waits for the Attempt's end."""
EVIDENCE_PATIENCE = timedelta(seconds=20)
"""How long an outcome waits for the Attempt's log, trace and screenshot to be stored."""


class Pools(Protocol):
    """Finds the pool of Machines of a project."""

    def of(self, project: str) -> Pool:
        """Return the pool of a project that this worker serves."""
        ...


class AttemptActivities:
    """The activities of Attempts, with the services that they need."""

    def __init__(
        self,
        *,
        worker: str,
        client: Client,
        store: Store,
        catalog: Catalog,
        versions: VersionFolders,
        environments: ProjectEnvironments,
        pools: Pools,
        keyring: KeyRing,
        running_attempts: RunningAttempts,
        trace_limit: int,
        redactor: TraceRedactor,
        journal: Callable[[HeldAttempt], contextlib.AbstractContextManager[None]],
        evidence: Callable[[str, int], contextlib.AbstractContextManager[Path]],
        log_rules: LogPolicy = DEFAULT_POLICY,
    ) -> None:
        self._worker = worker
        self._store = store
        self._records = AttemptRecords(store)
        self._start_signals = StartSignals(client, self._records)
        self._logins = AuthStates(client, store, keyring)
        self._catalog = catalog
        self._versions = versions
        self._environments = environments
        self._pools = pools
        self._keyring = keyring
        self._running_attempts = running_attempts
        self._journal = journal
        self._evidence = evidence
        self._log_rules = log_rules
        self._trace_limit = trace_limit
        self._uploader = ArtifactUploader(store, redactor)

    @activity.defn(name=names.ATTEMPT)
    async def attempt(self, order: AttemptInput) -> AttemptOutcome:
        """Execute one Attempt on a Machine and leave its result and record in the store.

        A check or create is one try of several that Temporal's retry policy allows.

        Raises:
            ApplicationError: Of type `AttemptInterrupted`: this worker could not finish the Attempt, and it does not
                count. Of type `AttemptFailed`: a check or create failed. Of type `NoLogin` or `AuthSessionGone`: there
                is nothing to begin with.
        """
        if order.kind is not AttemptKind.API:
            return await self._one_try(order)
        if activity.info().attempt > 1:
            # The Run counts Attempts, and asks Temporal for one try of each. But an activity that fails or is lost
            # while it is paused is tried again when it is unpaused: the server does not look at the limit then.
            message = "The Attempt ended without an outcome while it was paused in Temporal."
            raise ApplicationError(message, order.run_id, order.number, type=INTERRUPTED, non_retryable=True)
        return await self._held(order)

    async def _one_try(self, order: AttemptInput) -> AttemptOutcome:
        """Carry out one of several tries of a check or create. Raises as `attempt` does."""
        number = await self._number(order)
        if number > order.number:
            await self._close_lost(order, number - 1)
        order = order.model_copy(update={"number": number})
        outcome = await self._held(order)
        if outcome.status is AttemptStatus.FAILED and outcome.error is not None:
            seen = outcome.login.login if outcome.login is not None else None
            failed = FailedAttemptDetails(
                number=order.number, error=outcome.error, login=seen, started_at=outcome.started_at
            )
            raise ApplicationError(outcome.error.message, failed, type=ATTEMPT_FAILED, non_retryable=outcome.final)
        return outcome.model_copy(update={"number": order.number})

    async def _number(self, order: AttemptInput) -> int:
        """Return the number of this try of a check or create.

        A reset makes Temporal count anew, but no number is used again.
        """
        info = activity.info()
        number = order.number + info.attempt - 1
        if info.current_attempt_scheduled_time != info.scheduled_time:  # so this is not the first try
            while await self._records.exists(order.project, order.run_id, number):
                number += 1
        return number

    async def _close_lost(self, order: AttemptInput, number: int) -> None:
        """Record the end of the try before this one: if its worker was lost, nobody else writes it."""
        before = LostInput(
            workspace=order.workspace,
            run_id=order.run_id,
            number=number,
            project=order.project,
            cause="The worker that ran the Attempt was lost.",
            trace=order.trace,
            kind=order.kind,
        )
        try:
            await self._records.close_lost(before, within=LAST_WORDS_PATIENCE)
        except StoreError:
            log.exception("Run %s, Attempt %d: no record", order.run_id, number)

    async def _held(self, order: AttemptInput) -> AttemptOutcome:
        """Carry out the Attempt while it is in the journal and registered, so that it can be stopped."""
        with self._evidence(order.run_id, order.number) as folder:
            async with open_log(self._store, order, folder, self._log_rules) as opened:
                evidence = Evidence(folder, order.trace, self._trace_limit)
                progress = AttemptState(order, self._worker, evidence, opened)
                work = asyncio.create_task(self._work(order, progress), name=f"attempt {order.run_id} {order.number}")
                # The Attempt is in both or in neither at any moment: nothing is awaited between the two.
                with (
                    self._journal(HeldAttempt(order.run_id, order.number, activity.info().task_token, order.kind)),
                    self._running_attempts.hold(order.run_id, order.number, work) as running_attempt,
                ):
                    end = self._to_its_end(order, progress, running_attempt, work)
                    return await forward_cancellation(end, running_attempt.on_cancellation)

    async def _to_its_end(
        self,
        order: AttemptInput,
        progress: AttemptState,
        running_attempt: RunningAttempt,
        work: asyncio.Task[AttemptOutcome],
    ) -> AttemptOutcome:
        async with heartbeats(running_attempt.on_cancellation):
            await asyncio.wait({work})
            progress.end()
            if not work.cancelled():
                # The work is done, so no stop can reach it any more: an outcome that exists stands.
                try:
                    outcome = work.result().model_copy(update={"started_at": progress.started_at})
                except Exception as error:
                    await self._close(order, progress, AttemptStatus.FAILED, failure(error), within=RECORD_PATIENCE)
                    raise
                await self._close(order, progress, outcome.status, outcome.error, within=RECORD_PATIENCE)
                return outcome
            if running_attempt.cause is Cause.CANCELED:
                await self._close(order, progress, AttemptStatus.CANCELED, within=LAST_WORDS_PATIENCE)
            else:
                error = interruption(running_attempt.message)
                await self._close(order, progress, AttemptStatus.INTERRUPTED, error, within=LAST_WORDS_PATIENCE)
        if running_attempt.cause is Cause.CANCELED:
            return AttemptOutcome(status=AttemptStatus.CANCELED, started_at=progress.started_at)
        # An API Attempt is tried again by its workflow, which counts; a check or create is tried again by Temporal.
        over = order.kind is AttemptKind.API
        raise ApplicationError(
            running_attempt.message, order.run_id, order.number, type=INTERRUPTED, non_retryable=over
        )

    async def _close(
        self,
        order: AttemptInput,
        progress: AttemptState,
        status: AttemptStatus,
        error: RunError | None = None,
        *,
        within: timedelta,
    ) -> None:
        """Store what the Attempt leaves, and last its record, which lists what there is."""
        patience = min(within, EVIDENCE_PATIENCE)
        line = last_line(status, error, progress.lasted)
        progress.stored_log, progress.kept = await asyncio.gather(
            progress.log.store(*line, within=patience), self._keep_evidence(order, progress, status, within=patience)
        )
        await self._records.write(order.project, progress.record(status, error), within=within)

    async def _keep_evidence(
        self, order: AttemptInput, progress: AttemptState, status: AttemptStatus, *, within: timedelta
    ) -> UploadedArtifacts:
        if not progress.begun:
            return UploadedArtifacts()
        return await self._uploader.keep(order, progress.evidence, status, progress.masker, within=within)

    async def _work(self, order: AttemptInput, progress: AttemptState) -> AttemptOutcome:
        # The record of the start is written with the start signals, and before the work counts as done: it must not
        # come after that of the end.
        async with self._start_signals.of(order, progress):
            return await self._carry_out(order, progress)

    async def _carry_out(self, order: AttemptInput, progress: AttemptState) -> AttemptOutcome:
        login = None
        try:
            if order.kind is AttemptKind.API and not await self._is_open(order.project):
                return AttemptOutcome(status=AttemptStatus.CANCELED, reason=_access_disabled(order.project))
            manifest = await self._manifest(order)
            version = await self._version(order, manifest)
            if order.auth is not None:
                hidden = manifest.settings.auth_sessions.secret_parameters
                login = await self._logins.begin(order, order.auth, hidden)
            machine_order = await self._machine_order(order, login, progress)
            self._know(order, progress, masker_for(machine_order))
            report = await self._pools.of(order.project).run(version, machine_order, progress.begin)
            progress.attributes = report.attributes or None
            if report.storage_state is not None:  # what the site has set in the meantime is secret, too
                self._know(order, progress, progress.masker.also(secrets_of_state(json.loads(report.storage_state))))
            return await self._outcome(order, report, login)
        except (MachineError, ConfigurationError, SealError, Unavailable) as error:
            return _failed(f"The Attempt could not begin: {error.message}")
        except StoreError as error:
            return _failed(f"The artifact store failed: {error.message}", final=True)

    def _know(self, order: AttemptInput, progress: AttemptState, masker: Masker) -> None:
        """Mask with `masker` from here on, and persist its secrets for a worker that has to recover the log."""
        progress.masker = progress.log.book.masker = masker
        persist_masking_secrets(progress.evidence.folder, order, masker, self._keyring)

    async def _is_open(self, project: str) -> bool:
        """Tell whether the project's API access is on, by the version that is deployed now, not by the Run's."""
        current = await retry_store(STORE_PATIENCE, lambda: self._catalog.current(project))
        return current is None or current.settings.api_access.enabled

    async def _manifest(self, order: AttemptInput) -> Manifest:
        manifest = await retry_store(STORE_PATIENCE, lambda: self._catalog.manifest(order.project, order.version))
        if manifest is None:
            raise StoreError(f"version {order.version} of project {order.project} is not there any more.")
        return manifest

    async def _version(self, order: AttemptInput, manifest: Manifest) -> Version:
        folder = await retry_store(STORE_PATIENCE, lambda: self._versions.ensure(order.project, order.version))
        around = await self._environments.of(manifest, folder, patience=STORE_PATIENCE)
        size = manifest.settings.browser_size
        return Version(
            project=order.project,
            version=order.version,
            folder=folder,
            memory_limit=manifest.settings.memory_limit,
            width=size.width,
            height=size.height,
            headful=manifest.settings.headful,
            allow_file_urls=manifest.settings.allow_file_urls,
            python=around.python,
            variables=around.variables,
        )

    async def _machine_order(self, order: AttemptInput, login: AuthState | None, progress: AttemptState) -> AttemptSpec:
        proxy = self._open_proxy(order)
        run_info: dict[str, Any] = {"run_id": order.run_id, "proxy": proxy.server if proxy else None}
        services = ProjectValues(self._store, order.project)
        if order.parent_run_id is not None:
            run_info["parent_run_id"] = order.parent_run_id
        if order.auth is not None and login is not None:
            run_info["auth_session_id"] = order.auth.ref.id
            services = LoginValues(self._store, order.project, order.auth.ref, login.parameters)
        return AttemptSpec(
            run_id=order.run_id,
            number=order.number,
            api=order.api,
            parameters=await self._parameters(order, login),
            timeout=order.request_timeout,
            proxy=proxy,
            services=services,
            run_info=run_info,
            kind=order.kind,
            storage_state=login.text if login else None,
            capture=order.auth is not None and order.auth.save_back,
            secrets=(login.secrets if login else ()) + ((proxy.password,) if proxy and proxy.password else ()),
            evidence=progress.evidence,
            log=progress.log.book,
        )

    async def _parameters(self, order: AttemptInput, login: AuthState | None) -> str:
        if order.kind is AttemptKind.CREATE:
            if login is None or login.parameters is None:
                raise StoreError("the parameters of the AuthSession are not there any more.")
            return login.parameters
        parameters, key = order.parameters.text, order.parameters.key
        if parameters is None and key is not None:
            stored = await retry_store(STORE_PATIENCE, lambda: self._store.get(key))
            parameters = None if stored is None else stored.decode()
        if parameters is None:
            raise StoreError(f"{key} is not there any more.")
        return parameters

    def _open_proxy(self, order: AttemptInput) -> Proxy | None:
        proxy = order.proxy
        if proxy is None:
            return None
        bound_to = seal_context.run(order.workspace, order.project, proxy.owner or order.run_id)

        def opened(token: str | None) -> str | None:
            return None if token is None else self._keyring.open(token, bound_to=bound_to)

        return Proxy(server=proxy.server, username=opened(proxy.username), password=opened(proxy.password))

    async def _outcome(self, order: AttemptInput, report: AttemptReport, login: AuthState | None) -> AttemptOutcome:
        state = login.state if login else None
        if report.status is not AttemptStatus.COMPLETED or report.result is None:
            return AttemptOutcome(status=AttemptStatus.FAILED, error=report.error, final=report.final, login=state)
        if order.kind is AttemptKind.CHECK and report.result == "false":
            return AttemptOutcome(status=AttemptStatus.FAILED, error=_NOT_GOOD, login=state)
        if order.auth is not None and order.kind is AttemptKind.CREATE:
            if report.storage_state is None:
                return AttemptOutcome(status=AttemptStatus.FAILED, error=_NO_STATE)
            state = await self._logins.made(order, order.auth, report.storage_state)
        elif order.auth is not None and login is not None:
            state = await self._logins.good(order, order.auth, login, report.storage_state)
        if order.kind is not AttemptKind.API:
            return AttemptOutcome(status=AttemptStatus.COMPLETED, login=state)
        payloads = report.extended_payloads
        return AttemptOutcome(
            status=AttemptStatus.COMPLETED,
            result=await self._keep(order, "result.json", report.result),
            extended_payloads=(payloads and await self._keep(order, "extended-payloads.json", payloads)) or None,
        )

    async def _keep(self, order: AttemptInput, name: str, text: str) -> JsonRef:
        """Inline a small text into the outcome; store a large one before the outcome is returned."""
        if len(text) <= INLINE_LIMIT:
            return JsonRef(text=text, size=len(text))
        key = keys.attempt(order.project, order.run_id, order.number, name)
        await retry_store(STORE_PATIENCE, lambda: self._store.put(key, text.encode()))
        return JsonRef(key=key, size=len(text))


_NOT_GOOD = RunError(
    code=ErrorCode.AUTH_CHECK_FAILED,
    category="auth",
    message="auth-sessions/check.py does not find the login good: what it returned is not true.",
    retirable=True,
)

_NO_STATE = RunError(
    code=ErrorCode.INTERNAL_SERVER_ERROR,
    category="infrastructure",
    message="auth-sessions/create.py has ended, but the browser's state could not be captured.",
    retirable=True,
)


def _access_disabled(project: str) -> RunReason:
    return RunReason(
        type=ReasonType.API_ACCESS_DISABLED,
        message=f"API access of project {project} was turned off (apiAccess.enabled is false) while the Run waited.",
    )


def _failed(message: str, *, final: bool = False) -> AttemptOutcome:
    error = RunError(
        code=ErrorCode.INTERNAL_SERVER_ERROR,
        category="infrastructure",
        message=clip(message, MESSAGE_LIMIT),
        retirable=True,
    )
    return AttemptOutcome(status=AttemptStatus.FAILED, error=error, final=final)
