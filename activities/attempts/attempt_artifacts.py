"""Store what an Attempt leaves: its trace and screenshot, checked and masked, and its record, `attempt.json`.

A trace or screenshot that is lost is reported in the record, and fails nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError

from activities.store_retry import retry_store
from callboard.machines.attempt_spec import SCREENSHOT, TRACE, AttemptEvidence
from callboard.machines.machine_attempt import MachineAttempt
from callboard.machines.trace_redaction import RedactionOptions, TraceError
from callboard.machines.trace_redactor import TraceRedactor
from callboard.machines.uncancellable import uncancellable
from callboard.schemas.errors import StoreError
from callboard.schemas.workflow.attempt import (
    AUTH_SESSION_GONE,
    NO_LOGIN,
    AttemptInput,
    AttemptKind,
    AttemptOutcome,
    AttemptRecord,
    AttemptStatus,
    InterruptedInput,
    TracePicture,
)
from callboard.schemas.workflow.base import MESSAGE_LIMIT, clip
from callboard.schemas.workflow.run import ErrorCode, RunError
from callboard.security.masking import Masker
from callboard.security.url_redaction import redact_url
from callboard.storage import object_keys
from callboard.storage.store import Store
from callboard.telemetry import metrics
from callboard.telemetry.tracing import current_trace_id

log = logging.getLogger(__name__)

_LARGEST_SCREENSHOT = 32 * 1024 * 1024
"""Largest screenshot that is kept, in bytes: about a hundred times the size of a usual screenshot of a page."""
_PNG = b"\x89PNG\r\n\x1a\n"
_MACHINE_ENDED = "The Machine was ended before it had saved it."
_EXISTS_TIMEOUT = timedelta(seconds=5)
_NOT_SAVED = "The worker was lost before it had saved it."
_NO_FILES_SAVED = "The worker was lost before it had saved any."
_NOT_ALL_SAVED = "The worker was lost before it had saved the last lines."


@dataclass(frozen=True)
class UploadedArtifacts:
    """What the record of an Attempt says about its trace, screenshot and page."""

    page_url: str | None = None
    screenshot: bool = False
    trace_size: int | None = None
    """Size of the stored trace in bytes; None if there is no trace."""
    trace_picture: TracePicture | None = None
    """The last picture of the trace of an Attempt that completed; the others have a screenshot."""
    missing: Mapping[str, str] = field(default_factory=dict[str, str])


class ArtifactLostError(Exception):
    """A file must not be kept, or could not be; the message is a sentence."""


async def upload_artifacts(
    store: Store,
    redactor: TraceRedactor,
    attempt: AttemptInput,
    machine: MachineAttempt | None,
    status: AttemptStatus,
    masker: Masker,
    *,
    withheld: str | None = None,
    within: timedelta,
) -> UploadedArtifacts:
    """Store what an Attempt has left that ended with `status`, within the given time.

    `machine` is the Attempt at the Machines of this worker, if it came to them. Where it has not begun, it leaves
    nothing. `withheld` is the sentence that says why neither its trace nor its screenshot may be kept.
    """
    if machine is None or machine.start is None or machine.spec.evidence is None:
        return UploadedArtifacts()
    wanted, left, root = machine.spec.evidence, machine.evidence, machine.start.project_root
    # In a thread: the secrets may be very many.
    page_url, missing = await asyncio.to_thread(_masked_report, left, masker)
    loop = asyncio.get_running_loop()
    end = loop.time() + within.total_seconds()

    async def upload(name: str, work: Callable[[timedelta], Awaitable[int | None]]) -> int | None:
        if withheld is not None:
            missing[name] = withheld
            return None
        try:
            # A store that refuses is retried for only half of the time, so that its own message is known before the
            # timeout.
            async with asyncio.timeout_at(end):
                size = await work(timedelta(seconds=max(0, end - loop.time())))
        except (TraceError, ArtifactLostError, OSError, StoreError) as error:  # a TimeoutError is an OSError
            log.warning("Run %s, Attempt %d: its %s is lost", attempt.run_id, attempt.number, name, exc_info=error)
            missing[name] = _reason(error)
            return None
        if size is None and left is None:
            missing.setdefault(name, _MACHINE_ENDED)
        return size

    async def upload_screenshot(left: timedelta) -> int | None:
        screenshot = await asyncio.to_thread(read_untrusted, wanted.folder / SCREENSHOT, _LARGEST_SCREENSHOT)
        if screenshot is None:
            return None
        if not screenshot.startswith(_PNG):
            raise ArtifactLostError("What the Machine left is no screenshot.")
        key = object_keys.screenshot(attempt.project, attempt.run_id, attempt.number)
        await retry_store(left / 2, lambda: store.put(key, screenshot))
        return len(screenshot)

    picture: TracePicture | None = None

    async def upload_trace(left: timedelta) -> int | None:
        nonlocal picture
        redacted = wanted.folder / TRACE
        options = RedactionOptions(masker, wanted.trace_limit, root, cookies=attempt.auth is not None)
        if (written := await redactor.redact(wanted.folder, redacted, options, within=left)) is None:
            return None
        key = object_keys.trace(attempt.project, attempt.run_id, attempt.number)
        await retry_store(left / 2, lambda: store.put_file(key, redacted))
        picture = written.picture if status is AttemptStatus.COMPLETED else None
        return redacted.stat().st_size

    url = screenshot = trace = None
    if status is not AttemptStatus.COMPLETED and attempt.kind is not AttemptKind.RECORD:
        url = page_url
        screenshot = await upload("screenshot", upload_screenshot)
    if wanted.trace.keeps(completed=status is AttemptStatus.COMPLETED):
        trace = await upload("trace", upload_trace)
    return UploadedArtifacts(url, screenshot is not None, trace, picture, missing)


def read_untrusted(path: Path, largest: int) -> bytes | None:
    """Return the contents of a file that user code could have replaced, or None if there is none.

    Raises:
        ArtifactLostError: It cannot be read, is no file, or has more than `largest` bytes.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ArtifactLostError(f"What the Machine left cannot be read: {error.strerror}.") from error
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ArtifactLostError("What the Machine left is no file.")
        if found.st_size > largest:
            raise ArtifactLostError(f"It has {found.st_size} bytes; at most {largest} are kept.")
        return file.read(largest)


def _masked_report(evidence: AttemptEvidence | None, masker: Masker) -> tuple[str | None, dict[str, str]]:
    """Return the address of the page, and what is missing and why, as they may be shown."""
    if evidence is None:
        return None, {}
    page_url = None if evidence.page_url is None else redact_url(evidence.page_url, masker)
    return page_url, {name: masker.mask_text(reason) for name, reason in evidence.missing.items()}


def _reason(error: Exception) -> str:
    match error:
        case StoreError():
            return f"The artifact store did not take it: {error.message}"
        case TimeoutError():
            return "It could not be masked and stored in time."
        case OSError():
            return f"The worker's disk failed: {error.strerror or type(error).__name__}."
        case _:
            return str(error)


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
        key = object_keys.record(project, record.run_id, record.number)
        body = record.model_dump_json(exclude_none=True).encode()
        try:
            # A write that has begun is awaited even on a cancel: it would take effect all the same, and must not come
            # after the next one.
            await retry_store(within, lambda: uncancellable(self.store.put(key, body)))
        except StoreError:
            log.exception("Run %s, Attempt %d: no record", record.run_id, record.number)

    async def write_start(self, project: str, record: AttemptRecord, *, within: timedelta) -> None:
        """Write the record of a start unless there is one of an end.

        A worker that hung may report a start after the loss of its Attempt was recorded.
        """
        try:
            known = await retry_store(within, lambda: self.read(project, record.run_id, record.number))
        except StoreError:
            log.exception("Run %s, Attempt %d: no record", record.run_id, record.number)
            return
        if known is None or known.status is AttemptStatus.STARTED:
            await self.write(project, record, within=within)

    async def exists(self, project: str, run_id: str, number: int) -> bool:
        """Tell whether there is a record. A store that fails for long is taken to have none."""
        key = object_keys.record(project, run_id, number)
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
        if known and known.outcome and known.execution_id == interrupted.execution_id:
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
        """Return the artifacts that are missing of a lost Attempt; trace, screenshot and files are stored at its end.

        Raises StoreError.
        """
        missing = dict[str, str]()
        if interrupted.kind is not AttemptKind.RECORD:  # which leaves neither
            missing |= {"screenshot": _NOT_SAVED, "files": _NO_FILES_SAVED}
        if interrupted.trace.keeps(completed=False):
            missing["trace"] = _NOT_SAVED
        of = (interrupted.project, interrupted.run_id, interrupted.number)
        if not await self.store.exists(object_keys.log(*of)):
            pieces = aiter(self.store.list(object_keys.log_pieces(*of)))
            missing["log"] = _NOT_SAVED if await anext(pieces, None) is None else _NOT_ALL_SAVED
        return missing

    async def read(self, project: str, run_id: str, number: int) -> AttemptRecord | None:
        """Return the record of an Attempt, or None if there is none. Raises StoreError."""
        body = await self.store.get(object_keys.record(project, run_id, number))
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
