"""Answers about Attempts: their records, and which other artifacts they have left in the artifact store."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from api.dependencies import Services
from api.runs.outcome_json import error_body
from schemas.errors import NotFound
from schemas.rest.attempt import AttemptBody, UsageBody
from schemas.rest.result import RecordedError
from schemas.workflow.attempt import AttemptKind, AttemptRecord, AttemptStatus, AttemptUsage
from storage import keys

RECORD, LOG, TRACE = "attempt.json", "log.jsonl", "trace.zip"
LIVE_LOG = "log/"
"""Prefix of the names of the pieces in which a log is stored while its Attempt runs."""
SCREENSHOTS = {"screenshot.png": "image/png", "screenshot.jpeg": "image/jpeg"}

_AT_ONCE = 16
"""Number of records that are read concurrently: a Run can have a hundred Attempts."""


async def attempts_of(parts: Services, project: str, run_id: str) -> list[AttemptBody]:
    """Return the Attempts of a Run that have left a record, in order of their numbers. Raises StoreError."""
    found = await _found(parts, project, run_id, keys.attempts(project, run_id))
    limit = asyncio.Semaphore(_AT_ONCE)

    async def read(number: int) -> AttemptBody | None:
        async with limit:
            return await _body(parts, project, run_id, number, found[number])

    bodies = await asyncio.gather(*(read(number) for number in sorted(found)))
    return [body for body in bodies if body is not None]


async def attempt_of(parts: Services, project: str, run_id: str, number: int) -> AttemptBody:
    """Return one Attempt of a Run.

    Raises:
        NotFound: The Attempt has left no record, or none yet.
        StoreError: The artifact store failed.
    """
    found = await _found(parts, project, run_id, keys.attempt(project, run_id, number, ""))
    body = await _body(parts, project, run_id, number, found[number])
    if body is None:
        raise no_attempt(run_id, number)
    return body


async def record_of(parts: Services, project: str, run_id: str, number: int) -> AttemptRecord | None:
    """Return the record of an Attempt as it was written, or None if there is none. Raises StoreError."""
    data = await parts.store.get(keys.attempt(project, run_id, number, RECORD))
    return None if data is None else AttemptRecord.model_validate_json(data)


def missing_of(record: AttemptRecord, *, whole_log: bool) -> dict[str, str]:
    """Return what is missing of an Attempt's artifacts, and why.

    The record may say that the log is missing although it is there as a whole by now: a log can be recovered from the
    disk of a worker that was lost, and then comes later than the record.
    """
    return {what: why for what, why in record.missing.items() if what != "log" or not whole_log}


def no_attempt(run_id: str, number: int) -> NotFound:
    """Return the error that says that a Run has no such Attempt."""
    return NotFound(f"Run {run_id} has no Attempt {number}, or it has not begun yet.")


def left_none(record: AttemptRecord, what: str) -> NotFound:
    """Return the error that says that an Attempt has left no such file, and why, if that is known."""
    why = record.missing.get(what)
    told = f"Attempt {record.number} of Run {record.run_id} has left no {what}"
    return NotFound(f"{told}: {why}" if why else f"{told}.")


async def _found(parts: Services, project: str, run_id: str, prefix: str) -> defaultdict[int, set[str]]:
    """Return the names of the artifacts under `prefix`, by the number of the Attempt that has left them."""
    found: defaultdict[int, set[str]] = defaultdict(set)
    beginning = keys.attempts(project, run_id)
    async for key in parts.store.list(prefix):
        number, _, name = key.removeprefix(beginning).partition("/")
        found[int(number)].add(name)
    return found


async def _body(parts: Services, project: str, run_id: str, number: int, names: set[str]) -> AttemptBody | None:
    record = await record_of(parts, project, run_id, number) if RECORD in names else None
    if record is None:
        return None
    # The links are paths without a host, because a proxy may stand before this server.
    place = f"/api/v1/workspace/{parts.settings.workspace}/projects/{project}/runs/{run_id}/attempts/{number}"
    logs = any(name == LOG or name.startswith(LIVE_LOG) for name in names) or record.status is AttemptStatus.STARTED
    return AttemptBody(
        number=number,
        kind=AttemptKind(record.kind),
        status=record.status,
        queued_at=record.queued_at,
        started_at=record.started_at,
        ended_at=record.ended_at,
        machine=record.machine,
        worker=record.worker,
        browser_version=record.browser_version,
        error=None if record.error is None else RecordedError.model_validate(error_body(record.error)),
        page_url=record.page_url,
        attributes=record.attributes,
        usage=_usage(record.usage),
        missing=missing_of(record, whole_log=LOG in names),
        log=f"{place}/log" if logs else None,
        trace=f"{place}/trace" if TRACE in names else None,
        screenshot=f"{place}/screenshot" if names & SCREENSHOTS.keys() else None,
    )


def _usage(usage: AttemptUsage | None) -> UsageBody | None:
    return None if usage is None else UsageBody.model_validate(usage.model_dump())
