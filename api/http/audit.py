"""Record who has changed what, and who was refused: each is one line of the log and one object in the store.

The middleware has it recorded when the answer begins, before it is sent, and also if the client has left. What it says
comes from the route (`api.http.access.requires`), from ids in the path, and from the fields that endpoints add to the
log. Bodies, queries and headers are never looked at.

A request without a key leaves no entry, since anybody could fill the store by them. Refusals are limited for the same
reason, by the key: what comes from a broken script, or from somebody who guesses, is the same again and again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from typing import Any

from api.http.access import AuditNote, audit_note
from api.http.rate_limiter import RateLimiter
from callboard.projects.project_settings import is_project_name
from callboard.schemas.errors import StoreError
from callboard.schemas.rest.audit import REFUSAL, AuditActor, AuditEntry
from callboard.schemas.workflow.base import clip
from callboard.schemas.workflow.bulk import BulkRequester
from callboard.security.apikeys import Caller
from callboard.storage.audit_log import AuditLog, log_entry, log_lost_entry
from callboard.telemetry import metrics
from callboard.telemetry.log_context import current_log_fields

_PATIENCE = 3.0
"""Seconds that an answer waits for the store. The write goes on; a store that hangs does not hold up Runs."""
_MAX_WRITES = 1000
"""How many entries may wait for the store at the same time; further ones are lost."""
_CLOSE_TIMEOUT = 5.0
"""Seconds that a process which ends takes for entries that wait for the store."""

_REFUSALS = 100
_REFUSALS_WITHIN = timedelta(minutes=10)
"""Duration within which `_REFUSALS` refusals of one key are recorded. All keys that are not known count as one."""
_LOCKED_OUT_FOR = timedelta(minutes=5)
"""Duration within which one refusal with 429 is recorded of an address that has sent too many wrong keys."""

_ID = re.compile(r"[A-Za-z0-9._@+-]{1,200}")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,127}")
"""Pattern of names of environment variables: somebody may write a value in place of the name."""
_IDS = {
    **dict.fromkeys(("runId", "rerunOf", "authSessionId", "operationId", "deliveryId", "handoffId"), _ID),
    **dict.fromkeys(("jobId", "jobRunId", "bulkId", "keyId", "uploadId", "deployId", "version"), _ID),
    "variable": _VARIABLE,
}
"""What entries say of what is changed, and what that looks like. Fields of the log have these names, too."""
_PATH_IDS = {**dict(zip(_IDS, _IDS, strict=True)), "name": "variable"}
"""Parameters of paths that say what is changed, and what entries call them."""
_LIKE_A_KEY = re.compile(r"cb_[0-9A-Za-z]{12}_")
"""Part of a path that somebody has put a key into."""

_MAX_NAME = 200


class AuditRecorder:
    """Records what requests change, and which of them are refused."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit
        self._writes: set[asyncio.Task[None]] = set()
        self._refusals = RateLimiter(_REFUSALS, _REFUSALS_WITHIN)
        self._locked_out = RateLimiter(1, _LOCKED_OUT_FOR)

    async def record(self, scope: MutableMapping[str, Any], status: int | None, correlation_id: str) -> None:
        """Record a request, if there is anything to record; `status` is None if the client has left unanswered.

        The line is in the log at once. Nobody who cancels this, or does not wait for it, keeps it from the store.
        """
        entry = self._entry(scope, status, correlation_id)
        if entry is None:
            return
        log_entry(entry)
        if len(self._writes) >= _MAX_WRITES:
            _lost(entry, "too many wait for the artifact store")
            return
        write = asyncio.create_task(self._write(entry))
        self._writes.add(write)
        write.add_done_callback(self._writes.discard)
        await asyncio.wait([write], timeout=_PATIENCE)

    async def close(self) -> None:
        """Wait for what is being stored, but not for long."""
        if self._writes:
            await asyncio.wait(self._writes, timeout=_CLOSE_TIMEOUT)

    async def _write(self, entry: AuditEntry) -> None:
        try:
            await self._audit.write(entry)
        except StoreError as error:
            _lost(entry, error.message)

    def _entry(self, scope: MutableMapping[str, Any], status: int | None, correlation_id: str) -> AuditEntry | None:
        """Return the entry of a request; None if it has changed nothing."""
        note = audit_note(scope)
        caller: Caller | None = scope["state"].get("caller")
        actor = _actor(scope, caller, note, status)
        if actor is None:
            return None
        is_refusal = caller is None or status == HTTPStatus.FORBIDDEN or note.is_project_hidden
        if is_refusal and not self._may_record(scope, caller, status):
            return None
        if not is_refusal and note.action is None:
            return None
        return AuditEntry(
            time=datetime.now(UTC),
            action=REFUSAL if is_refusal else str(note.action),
            actor=actor,
            project=_project(scope),
            ids=_ids(scope),
            status=status,
            refused_action=note.action if is_refusal else None,
            missing_scope=note.missing_scope,
            client=_client(scope),
            request=_request(scope),
            correlation_id=correlation_id,
        )

    def _may_record(self, scope: Mapping[str, Any], caller: Caller | None, status: int | None) -> bool:
        """Tell whether this refusal is recorded, and count it."""
        if status == HTTPStatus.TOO_MANY_REQUESTS and not _count(self._locked_out, _client(scope) or ""):
            return False
        return _count(self._refusals, "" if caller is None else caller.id)


def bulk_requester(scope: MutableMapping[str, Any]) -> BulkRequester:
    """Return who sends this request, for the entries about the Runs that it has changed one after the other."""
    caller: Caller = scope["state"]["caller"]
    return BulkRequester(
        key=caller.actor,
        signed_in="session" in scope["state"],
        client=_client(scope),
        request=_request(scope),
        correlation_id=scope["state"]["correlation_id"],
    )


def _count(limiter: RateLimiter, who: str) -> bool:
    if limiter.retry_after(who):
        return False
    limiter.record(who)
    return True


def _actor(scope: Mapping[str, Any], caller: Caller | None, note: AuditNote, status: int | None) -> AuditActor | None:
    """Return who has sent the request; None if it had no key, or if it is not known whether the key is good."""
    if caller is not None:
        name = clip(caller.name, _MAX_NAME)
        return AuditActor(id=caller.id, name=name, signed_in="session" in scope["state"])
    if note.claimed_id is not None and status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS):
        return AuditActor(id=note.claimed_id, name=None, signed_in=False)
    return None


def _project(scope: Mapping[str, Any]) -> str | None:
    name = current_log_fields().get("project") or scope.get("path_params", {}).get("projectName")
    return name if isinstance(name, str) and is_project_name(name) else None


def _ids(scope: Mapping[str, Any]) -> dict[str, str]:
    path: dict[str, Any] = scope.get("path_params", {})
    given = {_PATH_IDS[name]: str(value) for name, value in path.items() if name in _PATH_IDS}
    given |= {name: str(value) for name, value in current_log_fields().items() if name in _IDS}
    return {
        name: value for name, value in given.items() if _IDS[name].fullmatch(value) and not _LIKE_A_KEY.search(value)
    }


def _client(scope: Mapping[str, Any]) -> str | None:
    """Return the address of the client as the server believes it (`CALLBOARD_TRUSTED_PROXIES`)."""
    client: tuple[str, int] | None = scope.get("client")
    try:
        address = ip_address(client[0] if client else "")
    except ValueError:
        return None
    return str(IPv6Address(address.packed)) if isinstance(address, IPv6Address) else str(address)


def _request(scope: Mapping[str, Any]) -> str | None:
    route = getattr(scope.get("route"), "path", None)
    return f"{scope['method']} {route}" if isinstance(route, str) else None


def _lost(entry: AuditEntry, why: str) -> None:
    log_lost_entry(entry, why)
    metrics.current().audit_entry_lost()
