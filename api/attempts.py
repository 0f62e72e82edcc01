"""Attempts as they are answered: their records, and what else lies beside them in the artifact store."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from api.causes import error_body
from api.parts import Parts
from contract.errors import NotFound
from contract.flow.attempt import AttemptKind, AttemptRecord, AttemptStatus, AttemptUsage
from contract.rest.attempt import AttemptBody, UsageBody
from contract.rest.result import RecordedError
from storage import keys

RECORD, LOG, TRACE = "attempt.json", "log.jsonl", "trace.zip"
LIVE_LOG = "log/"
"""What the name of each piece of a log begins with while its Attempt runs."""
SCREENSHOTS = {"screenshot.png": "image/png", "screenshot.jpeg": "image/jpeg"}

_AT_ONCE = 16
"""Records that are read side by side: a Run can have a hundred Attempts."""


async def attempts_of(parts: Parts, project: str, run_id: str) -> list[AttemptBody]:
    """Those of a Run that have left a record, in their order. Raises StoreError."""
    found = await _found(parts, project, run_id, keys.attempts(project, run_id))
    limit = asyncio.Semaphore(_AT_ONCE)

    async def read(number: int) -> AttemptBody | None:
        async with limit:
            return await _body(parts, project, run_id, number, found[number])

    bodies = await asyncio.gather(*(read(number) for number in sorted(found)))
    return [body for body in bodies if body is not None]


async def attempt_of(parts: Parts, project: str, run_id: str, number: int) -> AttemptBody:
    """One of them.

    Raises:
        NotFound: It has left no record, or none yet.
        StoreError: The store failed.
    """
    found = await _found(parts, project, run_id, keys.attempt(project, run_id, number, ""))
    body = await _body(parts, project, run_id, number, found[number])
    if body is None:
        raise no_attempt(run_id, number)
    return body


async def record_of(parts: Parts, project: str, run_id: str, number: int) -> AttemptRecord | None:
    """Its record as it was written. Raises StoreError."""
    data = await parts.store.get(keys.attempt(project, run_id, number, RECORD))
    return None if data is None else AttemptRecord.model_validate_json(data)


def missing_of(record: AttemptRecord, *, whole_log: bool) -> dict[str, str]:
    """What is missing of it. A log can come later than its record: from the disk of a worker that was lost."""
    return {what: why for what, why in record.missing.items() if what != "log" or not whole_log}


def no_attempt(run_id: str, number: int) -> NotFound:
    """There is no such Attempt."""
    return NotFound(f"Run {run_id} has no Attempt {number}, or it has not begun yet.")


def left_none(record: AttemptRecord, what: str) -> NotFound:
    """It has left no such file; and why, if that is known."""
    why = record.missing.get(what)
    told = f"Attempt {record.number} of Run {record.run_id} has left no {what}"
    return NotFound(f"{told}: {why}" if why else f"{told}.")


async def _found(parts: Parts, project: str, run_id: str, prefix: str) -> defaultdict[int, set[str]]:
    """The names of what each Attempt has left."""
    found: defaultdict[int, set[str]] = defaultdict(set)
    beginning = keys.attempts(project, run_id)
    async for key in parts.store.list(prefix):
        number, _, name = key.removeprefix(beginning).partition("/")
        found[int(number)].add(name)
    return found


async def _body(parts: Parts, project: str, run_id: str, number: int, names: set[str]) -> AttemptBody | None:
    record = await record_of(parts, project, run_id, number) if RECORD in names else None
    if record is None:
        return None
    # A path and no address: a proxy may stand before this server.
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
