"""Build what a sink is sent: the body of docs/contract.md, section 11.1, as JSON text."""

from __future__ import annotations

import json
from typing import Any

from schemas.workflow.base import JsonRef
from schemas.workflow.delivery import DeliverInput
from schemas.workflow.run import ErrorCode, RunError, RunOutcome, RunStatus
from storage.store import Store


class GoneError(Exception):
    """Something that belongs into the body is no longer in the store."""


async def delivery_payload(delivery: DeliverInput, outcome: RunOutcome, store: Store) -> bytes:
    """Return the body in ASCII. What user code returned is inserted as text, without parsing it.

    Raises:
        GoneError: Parameters or result are not in the store any more.
        StoreError: The store failed.
    """
    api_info = [
        _member("name", delivery.api),
        _raw("parameters", await _text(delivery.parameters, store)),
        _member("runId", delivery.run_id),
        _raw("result", await _result(outcome, store)),
    ]
    members = [
        _member("workspaceId", delivery.workspace),
        _member("project", {"id": delivery.project, "name": delivery.project}),
        _raw("apiInfo", _object(api_info)),
    ]
    if delivery.auth_session_id is not None:
        members.append(_member("authSession", {"id": delivery.auth_session_id}))
    return _object(members)


async def _result(outcome: RunOutcome, store: Store) -> bytes:
    if outcome.status is RunStatus.COMPLETED and outcome.result is not None:
        result = await _text(outcome.result, store)
        return _object([_member("status", "completed"), _raw("result", result), _member("statusCode", 200)])
    if outcome.error is None:
        raise ValueError(f"A Run that is {outcome.status} is not delivered")
    error = outcome.error
    return _object(
        [
            _member("status", "failed"),
            _member("error", error.code.value),
            _member("message", error.message),
            _member("statusCode", 408 if _is_timeout(error) else 500),
        ]
    )


def _is_timeout(error: RunError) -> bool:
    """Tell whether the Run, or its last Attempt, failed by taking too long."""
    last: dict[str, Any] = (error.details or {}).get("last_error") or {}
    return ErrorCode.SCRIPT_TIMEOUT.value in (error.code.value, last.get("code"))


async def _text(value: JsonRef, store: Store) -> bytes:
    if value.text is not None:
        return value.text.encode("ascii")
    data = None if value.key is None else await store.get(value.key)
    if data is None:
        raise GoneError(f"{value.key} is not in the artifact store any more.")
    return data


def _member(name: str, value: Any) -> bytes:
    return _raw(name, json.dumps(value, separators=(",", ":")).encode("ascii"))


def _raw(name: str, text: bytes) -> bytes:
    return b'"%s":%s' % (name.encode("ascii"), text)


def _object(members: list[bytes]) -> bytes:
    return b"{%s}" % b",".join(members)
