"""Build what lists, filters and the Temporal Web UI show of Runs without reading a history."""

from __future__ import annotations

from typing import Any

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from schemas.workflow import names
from schemas.workflow.run import RunStatus, RunSummary, RunType

STATUS = SearchAttributeKey.for_keyword(names.SEARCH_STATUS)


def auth_run_search_attributes(project: str, auth_session: str, run_type: RunType) -> TypedSearchAttributes:
    """Return the search attributes that a Validate, a Create or an Update starts with."""
    values = {
        names.SEARCH_PROJECT: project,
        names.SEARCH_STATUS: RunStatus.PENDING.value,
        names.SEARCH_RUN_TYPE: run_type.value,
        names.SEARCH_AUTH_SESSION: auth_session,
    }
    return TypedSearchAttributes(
        [SearchAttributePair(SearchAttributeKey.for_keyword(name), value) for name, value in values.items()]
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


def code_block(message: str) -> str:
    """Return a message as a Markdown block in which nothing is markup: it may hold text of a page."""
    return "\n\n```\n{}\n```".format(message.replace("`", "'"))
