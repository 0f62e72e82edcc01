"""The activity of bulks: cancel some Runs, or start them again, at a pace that leaves Temporal and the store to others.

A piece that is tried again does all of it once more, and nothing happens twice: to cancel a Run again changes nothing,
the id of a Run that is started again follows from the bulk and the earlier Run, and so does the key of an audit entry.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime

from temporalio import activity
from temporalio.client import Client

from activities.heartbeat import SHORT_INTERVAL, forward_cancellation, heartbeats
from callboard.projects.catalog import Catalog
from callboard.schemas.errors import (
    ArtifactMissing,
    CallboardError,
    Conflict,
    Forbidden,
    NotFound,
    StoreError,
    TooMany,
    Unavailable,
)
from callboard.schemas.rest.audit import AuditActor, AuditEntry
from callboard.schemas.workflow import names
from callboard.schemas.workflow.base import clip
from callboard.schemas.workflow.bulk import REASON_LIMIT, BulkAction, BulkFailure, BulkPiece, BulkPieceResult
from callboard.security.egress import EgressPolicy
from callboard.security.keyring import KeyRing
from callboard.settings import Settings
from callboard.starts.identity import RunIdentity, run_id_from, was_started
from callboard.starts.rerun import start_rerun
from callboard.starts.services import StartServices
from callboard.storage.audit_log import AuditLog, log_entry, log_lost_entry
from callboard.storage.store import Store
from callboard.telemetry import metrics
from callboard.telemetry.log_context import log_fields
from callboard.temporal.auth_sessions import AuthSessions
from callboard.temporal.run_queries import RunQueries
from callboard.temporal.runs import Runs

log = logging.getLogger(__name__)

PACE = 0.05
"""Seconds from one Run to the next one at least: 20 a second (docs/contract.md, section 13.8)."""

_PATIENCE = 3.0
"""Seconds that a Run waits for the store to take the entry of the one before."""

_ACCEPTED = 202
"""Status in entries about Runs that were changed."""


@dataclass(frozen=True)
class BulkActivities:
    """The activity `act_on_runs`, on the common task queue."""

    services: StartServices
    audit: AuditLog

    @classmethod
    def of(cls, settings: Settings, client: Client, store: Store, catalog: Catalog) -> BulkActivities:
        """Return the activity of a worker with these settings. Raises ConfigurationError if one of them is wrong."""
        services = StartServices(
            settings=settings,
            runs=Runs(client),
            run_queries=RunQueries(client),
            auth_sessions=AuthSessions(client),
            store=store,
            catalog=catalog,
            ring=KeyRing.of(settings),
            egress=EgressPolicy(settings.egress_allow),
        )
        return cls(services, AuditLog(store))

    @activity.defn(name=names.ACT_ON_RUNS)
    async def act_on_runs(self, input: BulkPiece) -> BulkPieceResult:
        """Handle these Runs one after the other. If this is cancelled, the Run at hand is the last one.

        Raises:
            StoreError, Unavailable: Repeating helps.
        """
        info, stop = activity.info(), asyncio.Event()
        piece = _Piece(input, self.services, self.audit, info.scheduled_time, is_repeated=info.attempt > 1)
        async with heartbeats(lambda _: stop.set(), interval=SHORT_INTERVAL):
            return await forward_cancellation(piece.handle_runs(stop), lambda _: stop.set())


@dataclass(frozen=True)
class _Piece:
    """One try of one piece."""

    input: BulkPiece
    services: StartServices
    audit: AuditLog
    began: datetime
    """When the first try was asked for, which entries of the audit have as their time."""
    is_repeated: bool

    async def handle_runs(self, stop: asyncio.Event) -> BulkPieceResult:
        handled, failures = 0, list[BulkFailure]()
        for run_id in self.input.run_ids:
            if stop.is_set():
                break
            pause = asyncio.create_task(asyncio.sleep(PACE))
            try:
                await self._handle(run_id)
            except TooMany as error:
                return BulkPieceResult(handled=handled, failures=tuple(failures), retry_after=error.retry_after)
            except CallboardError as error:
                if isinstance(error, StoreError | Unavailable) and not isinstance(error, ArtifactMissing):
                    raise
                failures.append(await self._fail(run_id, error.message, error.status))
            except Exception:
                log.exception("Run %s of a bulk has made an error that nobody has thought of", run_id)
                message = "Callboard has a defect. The log of the worker has the cause."
                failures.append(await self._fail(run_id, message, CallboardError.status))
            finally:
                await pause
            handled += 1
        return BulkPieceResult(handled=handled, failures=tuple(failures))

    async def _handle(self, run_id: str) -> None:
        """Cancel a Run or start it again, and write that to the audit. Raises CallboardError."""
        match self.input.action:
            case BulkAction.CANCEL:
                await self._cancel(run_id)
                ids = {"runId": run_id}
            case BulkAction.RERUN:
                ids = {"runId": await self._rerun(run_id), "rerunOf": run_id}
        await self._record(run_id, ids, _ACCEPTED)

    async def _fail(self, run_id: str, message: str, status: int) -> BulkFailure:
        """Write to the audit that this could not be done, and return what is shown of it."""
        name = "rerunOf" if self.input.action is BulkAction.RERUN else "runId"
        await self._record(run_id, {name: run_id}, status)
        return BulkFailure(run_id=run_id, message=clip(message, REASON_LIMIT))

    async def _record(self, run_id: str, ids: dict[str, str], status: int) -> None:
        """Write an entry to the log and then to the audit: the change stands if the store does not take it."""
        requester = self.input.requester
        entry = AuditEntry(
            time=self.began,
            action=f"run.{self.input.action}",
            actor=AuditActor(id=requester.key.id, name=requester.key.name, signed_in=requester.signed_in),
            project=self.input.project,
            ids={**ids, "bulkId": self.input.bulk_id},
            status=status,
            refused_action=None,
            missing_scope=None,
            client=requester.client,
            request=requester.request,
            correlation_id=requester.correlation_id,
        )
        log_entry(entry)
        try:
            async with asyncio.timeout(_PATIENCE):
                await self.audit.write(entry, repeated=run_id)
        except (StoreError, TimeoutError) as error:
            why = error.message if isinstance(error, StoreError) else "the artifact store does not answer"
            log_lost_entry(entry, why)
            metrics.current().audit_entry_lost()

    async def _cancel(self, run_id: str) -> None:
        by = self.input.requester.key
        state = await self.services.runs.cancel(self.input.workspace, self.input.project, run_id, by=by)
        if state.outcome is not None and state.outcome.canceled_by != by:  # else an earlier try has canceled it
            raise Conflict(f"It had ended before: {state.outcome.status}.")

    async def _rerun(self, run_id: str) -> str:
        """Start the Run again, and return the id of the new one."""
        identity = _rerun_identity(self.input.bulk_id, run_id)
        with log_fields(runId=identity.run_id):
            if self.is_repeated and await was_started(self.services, self.input.project, identity):
                return identity.run_id
            manifest = await self.services.catalog.get_current(self.input.project)
            if manifest is None:
                raise NotFound(f"Project {self.input.project} is not deployed any more.")
            if not manifest.settings.api_access.enabled:
                raise Forbidden(f"Project {self.input.project} is not open to this API (apiAccess.enabled is false).")
            by, bulk_id = self.input.requester.key, self.input.bulk_id
            await start_rerun(self.services, manifest, run_id, identity, by, bulk_id=bulk_id)
        return identity.run_id


def _rerun_identity(bulk_id: str, run_id: str) -> RunIdentity:
    """Return the identity of the Run that a bulk starts for an earlier one; each try gets the same."""
    digest = hashlib.sha256(f"{bulk_id} {run_id}".encode("ascii"))
    return RunIdentity(run_id_from(urlsafe_b64encode(digest.digest()).decode("ascii")), digest.hexdigest())
