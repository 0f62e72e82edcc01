"""Build the typed search attributes of Runs and AuthSessions, and the memo of a Run."""

from __future__ import annotations

from typing import Any

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from schemas.workflow import names
from schemas.workflow.run import RunInput, RunStatus, RunSummary, RunType

PROJECT = SearchAttributeKey.for_keyword(names.SEARCH_PROJECT)
API = SearchAttributeKey.for_keyword(names.SEARCH_API)
STATUS = SearchAttributeKey.for_keyword(names.SEARCH_STATUS)
RUN_TYPE = SearchAttributeKey.for_keyword(names.SEARCH_RUN_TYPE)
AUTH_SESSION = SearchAttributeKey.for_keyword(names.SEARCH_AUTH_SESSION)

MEMO_WORKSPACE = names.MEMO_WORKSPACE
MEMO_FINGERPRINT = "fingerprint"
"""Name of the memo field with a keyed hash of the request body, against which an Idempotency-Key is checked."""


def of_new_run(order: RunInput) -> TypedSearchAttributes:
    """Return the search attributes that a Run starts with."""
    pairs = [
        SearchAttributePair(PROJECT, order.project),
        SearchAttributePair(API, order.api),
        SearchAttributePair(STATUS, RunStatus.PENDING.value),
        SearchAttributePair(RUN_TYPE, RunType.API.value),
    ]
    if order.auth is not None:
        pairs.append(SearchAttributePair(AUTH_SESSION, order.auth.ref.id))
    return TypedSearchAttributes(pairs)


def memo_of_new_run(order: RunInput, *, fingerprint: str, rerun_of: str | None = None) -> dict[str, Any]:
    """Return the memo that a Run starts with."""
    memo: dict[str, Any] = {
        MEMO_WORKSPACE: order.workspace,
        MEMO_FINGERPRINT: fingerprint,
        names.MEMO_SUMMARY: RunSummary(version=order.version).model_dump(mode="json"),
    }
    return memo if rerun_of is None else {**memo, names.MEMO_RERUN_OF: rerun_of}


def of_auth_session(project: str, auth_session: str) -> TypedSearchAttributes:
    """Return the search attributes of an AuthSession itself, which is no Run."""
    return TypedSearchAttributes(
        [SearchAttributePair(PROJECT, project), SearchAttributePair(AUTH_SESSION, auth_session)]
    )
