"""Translation of words of later versions, for answers whose sets of words the contract closes.

While services are upgraded, an api may read a word that it does not know, such as the error code of a newer worker.
Callboard's own answers (`…/runs`, its pages) show it as it is. Clients of the contract, such as Intuned's own, refuse a
body with a word that is not in the contract's sets, though: they get the nearest word of the set, and the recorded word
in `details.recorded`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from schemas.errors import Category
from schemas.rest import result
from schemas.rest.auth_sessions import AuthSessionBody
from schemas.rest.result import cause_json
from schemas.workflow.auth import AuthSessionStatus, AuthSessionType
from schemas.workflow.auth_session import AuthSessionView
from schemas.workflow.run import RunOutcome, RunStatus

_CODES = frozenset(get_args(result.ErrorCode))
_CATEGORIES = frozenset(get_args(Category))
_REASONS = frozenset(get_args(result.ReasonType))

_OTHER_CODE = "unexpected"
_OTHER_CATEGORY = "infrastructure"
_OTHER_REASON = "terminated"


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


def contract_auth_session(view: AuthSessionView) -> AuthSessionBody:
    """Return an AuthSession in words of the contract.

    A type that is not known becomes RECORDER, the type of a login that only its owner can make again. A status that is
    not known becomes EXPIRED, which promises no login.
    """
    return AuthSessionBody(
        id=view.id,
        type=view.type if view.type.is_known else AuthSessionType.RECORDER,
        status=view.status if view.status.is_known else AuthSessionStatus.EXPIRED,
    )


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
