"""Check, mask and store the trace and the screenshot of an Attempt; what is lost is reported and fails nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from activities.store_retry import retry_store
from machines.attempt_spec import SCREENSHOT, TRACE, AttemptEvidence
from machines.machine_attempt import MachineAttempt
from machines.trace_redaction import RedactionOptions, TraceError
from machines.trace_redactor import TraceRedactor
from schemas.errors import StoreError
from schemas.workflow.attempt import AttemptInput, AttemptStatus
from security.masking import Masker
from security.url_redaction import redact_url
from storage import keys
from storage.store import Store

log = logging.getLogger(__name__)

_LARGEST_SCREENSHOT = 32 * 1024 * 1024
"""Largest screenshot that is kept, in bytes: about a hundred times the size of a usual screenshot of a page."""
_PNG = b"\x89PNG\r\n\x1a\n"
_MACHINE_ENDED = "The Machine was ended before it had saved it."


@dataclass(frozen=True)
class UploadedArtifacts:
    """What the record of an Attempt says about its trace, screenshot and page."""

    page_url: str | None = None
    screenshot: bool = False
    trace_size: int | None = None
    """Size of the stored trace in bytes; None if there is no trace."""
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
    within: timedelta,
) -> UploadedArtifacts:
    """Store what an Attempt has left that ended with `status`, within the given time.

    `machine` is the Attempt at the Machines of this worker, if it came to them. Where it has not begun, it leaves
    nothing.
    """
    if machine is None or machine.start is None or machine.spec.evidence is None:
        return UploadedArtifacts()
    wanted, left, root = machine.spec.evidence, machine.evidence, machine.start.project_root
    # In a thread: the secrets may be very many.
    page_url, missing = await asyncio.to_thread(_masked_report, left, masker)
    loop = asyncio.get_running_loop()
    end = loop.time() + within.total_seconds()

    async def upload(name: str, work: Callable[[timedelta], Awaitable[int | None]]) -> int | None:
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
        key = keys.screenshot(attempt.project, attempt.run_id, attempt.number)
        await retry_store(left / 2, lambda: store.put(key, screenshot))
        return len(screenshot)

    async def upload_trace(left: timedelta) -> int | None:
        redacted = wanted.folder / TRACE
        options = RedactionOptions(masker, wanted.trace_limit, root, cookies=attempt.auth is not None)
        if not await redactor.redact(wanted.folder, redacted, options, within=left):
            return None
        key = keys.trace(attempt.project, attempt.run_id, attempt.number)
        await retry_store(left / 2, lambda: store.put_file(key, redacted))
        return redacted.stat().st_size

    url = screenshot = trace = None
    if status is not AttemptStatus.COMPLETED:
        url = page_url
        screenshot = await upload("screenshot", upload_screenshot)
    if wanted.trace.keeps(completed=status is AttemptStatus.COMPLETED):
        trace = await upload("trace", upload_trace)
    return UploadedArtifacts(url, screenshot is not None, trace, missing)


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
