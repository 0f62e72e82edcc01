"""Write and read `attempt.json`, the durable record that each Attempt leaves in the artifact store."""

from __future__ import annotations

import logging
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError

from activities.store_retry import retry_store
from machines.uncancellable import uncancellable
from schemas.errors import StoreError
from schemas.workflow.attempt import (
    AUTH_SESSION_GONE,
    NO_LOGIN,
    AttemptOutcome,
    AttemptRecord,
    AttemptStatus,
    InterruptedInput,
)
from schemas.workflow.base import MESSAGE_LIMIT, clip
from schemas.workflow.run import ErrorCode, RunError
from storage import keys
from storage.store import Store
from telemetry import metrics
from telemetry.tracing import current_trace_id

log = logging.getLogger(__name__)

_EXISTS_TIMEOUT = timedelta(seconds=5)
_NOT_SAVED = "The worker was lost before it had saved it."
_NOT_ALL_SAVED = "The worker was lost before it had saved the last lines."


@dataclass(frozen=True)
class AttemptRecords:
    """Writes and reads the records of Attempts."""

    store: Store
    converter: DataConverter
    """That of the Temporal client: an outcome is kept as Temporal keeps it."""

    async def write(
        self, project: str, record: AttemptRecord, outcome: AttemptOutcome | None = None, *, within: timedelta
    ) -> None:
        """Write a record, and with it the outcome, which counts even if Temporal does not hear of it.

        A store that fails for longer than `within` costs the record, not the Attempt.
        """
        if outcome is not None:
            [payload] = await self.converter.encode([outcome])
            record = record.model_copy(update={"outcome": b64encode(payload.SerializeToString()).decode()})
        key = keys.record(project, record.run_id, record.number)
        body = record.model_dump_json(exclude_none=True).encode()
        try:
            # A write that has begun is awaited even on a cancel: it would take effect all the same, and must not come
            # after the next one.
            await retry_store(within, lambda: uncancellable(self.store.put(key, body)))
        except StoreError:
            log.exception("Run %s, Attempt %d: no record", record.run_id, record.number)

    async def write_if_absent(self, project: str, record: AttemptRecord, *, within: timedelta) -> None:
        """Write a record unless there is one.

        A worker that hung may report a start after the loss of its Attempt was recorded.
        """
        key = keys.record(project, record.run_id, record.number)
        try:
            there = await retry_store(within, lambda: self.store.exists(key))
        except StoreError:
            log.exception("Run %s, Attempt %d: no record", record.run_id, record.number)
            return
        if not there:
            await self.write(project, record, within=within)

    async def exists(self, project: str, run_id: str, number: int) -> bool:
        """Tell whether there is a record. A store that fails for long is taken to have none."""
        key = keys.record(project, run_id, number)
        try:
            return await retry_store(_EXISTS_TIMEOUT, lambda: self.store.exists(key))
        except StoreError:
            log.exception("Run %s, Attempt %d: it is not known whether there is a record", run_id, number)
            return False

    async def record_interrupted(
        self, interrupted: InterruptedInput, *, unheard: bool = False, within: timedelta
    ) -> AttemptOutcome | None:
        """Return the outcome that the worker of a lost Attempt has stored, if it has and that counts.

        If not, record the Attempt as interrupted, and what is missing of it.

        Args:
            interrupted: The Attempt.
            unheard: Whether Temporal has not heard of its end, so that an end without an outcome does not count.
            within: How long each request to the store is retried.

        Raises:
            StoreError: What is stored cannot be read. (A record that cannot be written is lost, as by `write`.)
        """
        of = (interrupted.project, interrupted.run_id, interrupted.number)
        known = await retry_store(within, lambda: self.read(*of))
        if interrupted.execution_id and known and known.outcome and known.execution_id == interrupted.execution_id:
            payload = Payload.FromString(b64decode(known.outcome))
            [outcome] = await self.converter.decode([payload], [AttemptOutcome])
            return outcome
        if unheard and known is not None and known.status in {AttemptStatus.COMPLETED, AttemptStatus.FAILED}:
            changes = {"status": AttemptStatus.INTERRUPTED, "error": interruption(interrupted.cause)}
            await self.write(interrupted.project, known.model_copy(update=changes), within=within)
            return None
        if known is not None and known.status is not AttemptStatus.STARTED:
            return None
        metrics.current().attempt_ended(interrupted.project, status=AttemptStatus.INTERRUPTED, duration=None)
        base = known or AttemptRecord(
            run_id=interrupted.run_id,
            number=interrupted.number,
            kind=interrupted.kind,
            status=AttemptStatus.INTERRUPTED,
            trace_id=current_trace_id(),
        )
        missing = await retry_store(within, lambda: self._missing(interrupted))
        changes = {
            "status": AttemptStatus.INTERRUPTED,
            "ended_at": datetime.now(UTC),
            "error": interruption(interrupted.cause),
            "log": "log" not in missing,
            "missing": missing,
        }
        await self.write(interrupted.project, base.model_copy(update=changes), within=within)
        return None

    async def _missing(self, interrupted: InterruptedInput) -> dict[str, str]:
        """Return the artifacts that are missing of a lost Attempt; trace and screenshot are made at its end.

        Raises StoreError.
        """
        missing = {"screenshot": _NOT_SAVED}
        if interrupted.trace.keeps(completed=False):
            missing["trace"] = _NOT_SAVED
        of = (interrupted.project, interrupted.run_id, interrupted.number)
        if not await self.store.exists(keys.log(*of)):
            pieces = aiter(self.store.list(keys.log_pieces(*of)))
            missing["log"] = _NOT_SAVED if await anext(pieces, None) is None else _NOT_ALL_SAVED
        return missing

    async def read(self, project: str, run_id: str, number: int) -> AttemptRecord | None:
        """Return the record of an Attempt, or None if there is none. Raises StoreError."""
        body = await self.store.get(keys.record(project, run_id, number))
        return None if body is None else AttemptRecord.model_validate_json(body)


def failure(error: Exception) -> RunError:
    """Return the error for the record of an Attempt whose activity raises."""
    if isinstance(error, ApplicationError) and error.type in (AUTH_SESSION_GONE, NO_LOGIN):
        return RunError(code=ErrorCode.AUTH_CHECK_FAILED, category="auth", message=error.message, retirable=True)
    message = clip(f"The worker could not carry out the Attempt: {error}", MESSAGE_LIMIT)
    return RunError(code=ErrorCode.INTERNAL_SERVER_ERROR, category="infrastructure", message=message, retirable=True)


def interruption(message: str) -> RunError:
    """Return the error for the record of an Attempt that was lost with its worker, or given up by it."""
    return RunError(code=ErrorCode.SCRIPT_PROCESS_CRASHED, category="infrastructure", message=message, retirable=True)
