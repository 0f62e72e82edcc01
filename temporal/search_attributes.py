"""Build the search attributes and the memo that Runs and AuthSessions start with."""

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


def run_search_attributes(run_input: RunInput) -> TypedSearchAttributes:
    """Return the search attributes that a Run starts with."""
    pairs = [
        SearchAttributePair(PROJECT, run_input.project),
        SearchAttributePair(API, run_input.api),
        SearchAttributePair(STATUS, RunStatus.PENDING.value),
        SearchAttributePair(RUN_TYPE, RunType.API.value),
    ]
    if run_input.auth is not None:
        pairs.append(SearchAttributePair(AUTH_SESSION, run_input.auth.ref.id))
    return TypedSearchAttributes(pairs)


def run_memo(run_input: RunInput, *, fingerprint: str, rerun_of: str | None = None) -> dict[str, Any]:
    """Return the memo that a Run starts with."""
    memo: dict[str, Any] = {
        MEMO_WORKSPACE: run_input.workspace,
        MEMO_FINGERPRINT: fingerprint,
        names.MEMO_SUMMARY: RunSummary(version=run_input.version).model_dump(mode="json"),
    }
    return memo if rerun_of is None else {**memo, names.MEMO_RERUN_OF: rerun_of}


def auth_session_search_attributes(project: str, auth_session: str) -> TypedSearchAttributes:
    """Return the search attributes of an AuthSession itself, which is no Run."""
    return TypedSearchAttributes(
        [SearchAttributePair(PROJECT, project), SearchAttributePair(AUTH_SESSION, auth_session)]
    )
