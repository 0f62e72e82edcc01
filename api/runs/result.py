"""The answer to `result` and `cancel`, made from a Run's state (docs/contract.md, section 6.2).

While services are upgraded, an api may read a word that it does not know, such as the error code of a newer worker.
Callboard's own answers (`…/runs`, its pages) show it as it is. Clients of the contract, such as Intuned's own, refuse a
body with a word that is not in the contract's sets, though: they get the nearest word of the set, and the recorded word
in `details.recorded`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from callboard.schemas.errors import Category
from callboard.schemas.rest.files import LinkedFile
from callboard.schemas.rest.handoffs import OpenHandoff
from callboard.schemas.rest.run_result import ErrorCode, ReasonType, cause_json
from callboard.schemas.workflow.run import RunOutcome, RunStatus
from callboard.storage.raw_json import RawJson, dump_object, load_json
from callboard.storage.store import Store
from callboard.temporal.runs import RunState

_CODES = frozenset(get_args(ErrorCode))
_CATEGORIES = frozenset(get_args(Category))
_REASONS = frozenset(get_args(ReasonType))

_OTHER_CODE = "unexpected"
_OTHER_CATEGORY = "infrastructure"
_OTHER_REASON = "terminated"


async def result_json(state: RunState, store: Store, files: Sequence[LinkedFile]) -> RawJson:
    """Return the answer, with the files of the Run if it has left any.

    Raises:
        StoreError: An artifact is missing or cannot be read.
    """
    if state.outcome is None:
        return dump_object({"runId": state.run_id, "status": state.status.value, **open_handoff(state)})
    contract = contract_outcome(state.outcome)
    members: dict[str, Any] = {"runId": state.run_id, "status": contract.status.value}
    members |= await returned_values(state.outcome, state.run_id, store)
    if files:
        members["files"] = [file.model_dump(mode="json", by_alias=True) for file in files]
    causes = {"error": contract.error, "reason": contract.reason, "message": contract.message}
    return dump_object(members | {name: value for name, value in causes.items() if value is not None})


def open_handoff(state: RunState) -> dict[str, Any]:
    """Return the member `handoff` of a Run that waits for a person."""
    handoff = OpenHandoff.of(state.handoff)
    return {} if handoff is None else {"handoff": handoff.model_dump(mode="json", by_alias=True)}


async def returned_values(outcome: RunOutcome, run_id: str, store: Store) -> dict[str, RawJson]:
    """Return the members `result` and `extendedPayloads`, each if there is one. Raises StoreError."""
    values = {"result": outcome.result, "extendedPayloads": outcome.extended_payloads}
    return {name: await load_json(value, name, run_id, store) for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class ContractOutcome:
    """The outcome of a Run, in words of the contract."""

    status: RunStatus
    error: dict[str, Any] | None = None
    reason: dict[str, Any] | None = None

    @property
    def message(self) -> str | None:
        """Return why the Run did not complete, or None if it did."""
        cause = self.error or self.reason
        return None if cause is None else cause["message"]


def contract_outcome(outcome: RunOutcome) -> ContractOutcome:
    """Return the outcome in words of the contract.

    A status that is not known is replaced by the one that fits what was recorded with it (an error, a reason or a
    result), or by FAILED if nothing was.
    """
    error = (body := cause_json(outcome.error)) and _contract_error(body)
    reason = (body := cause_json(outcome.reason)) and _contract_reason(body)
    if outcome.status.is_known:
        return ContractOutcome(outcome.status, error, reason)
    status = outcome.status.value
    if error is not None:
        return ContractOutcome(RunStatus.FAILED, _with_recorded(error, "status", status))
    if reason is not None:
        return ContractOutcome(RunStatus.CANCELED, reason=_with_recorded(reason, "status", status))
    if outcome.result is not None:
        return ContractOutcome(RunStatus.COMPLETED)
    message = f'The Run has ended as "{status}", which this version of Callboard does not know. Upgrade the api.'
    unknown = {"code": _OTHER_CODE, "category": _OTHER_CATEGORY, "message": message, "retirable": False}
    return ContractOutcome(RunStatus.FAILED, _with_recorded(unknown, "status", status))


def _contract_error(body: dict[str, Any]) -> dict[str, Any]:
    body = _replace_unknown(body, "code", _CODES, _OTHER_CODE)
    return _replace_unknown(body, "category", _CATEGORIES, _OTHER_CATEGORY)


def _contract_reason(body: dict[str, Any]) -> dict[str, Any]:
    return _replace_unknown(body, "type", _REASONS, _OTHER_REASON)


def _replace_unknown(body: dict[str, Any], name: str, known: frozenset[str], other: str) -> dict[str, Any]:
    value = body[name]
    return body if value in known else {**_with_recorded(body, name, value), name: other}


def _with_recorded(body: dict[str, Any], name: str, value: str) -> dict[str, Any]:
    """Return `body` with the recorded word added to its details."""
    details: dict[str, Any] = body.get("details") or {}
    return {**body, "details": {**details, "recorded": {**details.get("recorded", {}), name: value}}}
