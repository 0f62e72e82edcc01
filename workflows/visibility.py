"""Build what lists, filters and the Temporal Web UI show of Runs without reading a history."""

from __future__ import annotations

from typing import Any

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from schemas.workflow import names
from schemas.workflow.auth_session import AuthSessionView
from schemas.workflow.run import RunInput, RunStatus, RunSummary, RunType

PROJECT = SearchAttributeKey.for_keyword(names.SEARCH_PROJECT)
API = SearchAttributeKey.for_keyword(names.SEARCH_API)
STATUS = SearchAttributeKey.for_keyword(names.SEARCH_STATUS)
RUN_TYPE = SearchAttributeKey.for_keyword(names.SEARCH_RUN_TYPE)
AUTH_SESSION = SearchAttributeKey.for_keyword(names.SEARCH_AUTH_SESSION)

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
        names.MEMO_WORKSPACE: run_input.workspace,
        MEMO_FINGERPRINT: fingerprint,
        names.MEMO_SUMMARY: RunSummary(version=run_input.version).model_dump(mode="json"),
    }
    return memo if rerun_of is None else {**memo, names.MEMO_RERUN_OF: rerun_of}


def auth_run_search_attributes(project: str, auth_session: str, run_type: RunType) -> TypedSearchAttributes:
    """Return the search attributes that a Validate, a Create or an Update starts with."""
    return TypedSearchAttributes(
        [
            SearchAttributePair(PROJECT, project),
            SearchAttributePair(STATUS, RunStatus.PENDING.value),
            SearchAttributePair(RUN_TYPE, run_type.value),
            SearchAttributePair(AUTH_SESSION, auth_session),
        ]
    )


def auth_run_memo(workspace: str, version: str, parent_run_id: str | None) -> dict[str, Any]:
    """Return the memo of a Validate, a Create or an Update.

    It holds the workspace, what lists show, and the Run that waits for it, if one does.
    """
    memo: dict[str, Any] = {
        names.MEMO_WORKSPACE: workspace,
        names.MEMO_SUMMARY: RunSummary(version=version).model_dump(mode="json"),
    }
    return memo if parent_run_id is None else {**memo, names.MEMO_PARENT: parent_run_id}


def auth_session_search_attributes(project: str, auth_session: str) -> TypedSearchAttributes:
    """Return the search attributes of an AuthSession itself, which is no Run."""
    return TypedSearchAttributes(
        [SearchAttributePair(PROJECT, project), SearchAttributePair(AUTH_SESSION, auth_session)]
    )


def auth_session_memo(workspace: str, view: AuthSessionView) -> dict[str, Any]:
    """Return the memo of an AuthSession: the workspace, and its state."""
    return {names.MEMO_WORKSPACE: workspace, names.MEMO_VIEW: view.model_dump(mode="json")}


def code_block(message: str) -> str:
    """Return a message as a Markdown block in which nothing is markup: it may hold text of a page."""
    return "\n\n```\n{}\n```".format(message.replace("`", "'"))
