"""The search attributes and the memo of Runs that workflows start."""

from __future__ import annotations

from typing import Any

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from contract.flow import names
from contract.flow.run import RunStatus, RunSummary, RunType


def of_login_run(
    project: str, auth_session: str, kind: RunType, status: RunStatus = RunStatus.PENDING
) -> TypedSearchAttributes:
    """Those of a Validate, a Create or an Update."""
    values = {
        names.SEARCH_PROJECT: project,
        names.SEARCH_STATUS: status.value,
        names.SEARCH_RUN_TYPE: kind.value,
        names.SEARCH_AUTH_SESSION: auth_session,
    }
    return TypedSearchAttributes(
        [SearchAttributePair(SearchAttributeKey.for_keyword(name), value) for name, value in values.items()]
    )


def memo_of_login_run(workspace: str, version: str, parent_run_id: str | None, **summary: Any) -> dict[str, Any]:
    """Their memo: whose they are, what lists show, and which Run waits."""
    memo: dict[str, Any] = {
        names.MEMO_WORKSPACE: workspace,
        names.MEMO_SUMMARY: RunSummary(version=version, **summary).model_dump(mode="json"),
    }
    return memo if parent_run_id is None else {**memo, names.MEMO_PARENT: parent_run_id}
