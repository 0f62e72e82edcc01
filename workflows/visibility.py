"""Build what lists, filters and the Temporal Web UI show of Runs without reading a history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from callboard.schemas.workflow import names
from callboard.schemas.workflow.alert import Alert
from callboard.schemas.workflow.auth_session import AuthSessionView
from callboard.schemas.workflow.bulk import BulkInput
from callboard.schemas.workflow.job_run import JobRunInput, JobRunProgress, JobRunStatus, JobRunType, JobRunView
from callboard.schemas.workflow.run import RunInput, RunStatus, RunSummary, RunType

PROJECT = SearchAttributeKey.for_keyword(names.SEARCH_PROJECT)
API = SearchAttributeKey.for_keyword(names.SEARCH_API)
STATUS = SearchAttributeKey.for_keyword(names.SEARCH_STATUS)
RUN_TYPE = SearchAttributeKey.for_keyword(names.SEARCH_RUN_TYPE)
AUTH_SESSION = SearchAttributeKey.for_keyword(names.SEARCH_AUTH_SESSION)
ERROR_CODE = SearchAttributeKey.for_keyword(names.SEARCH_ERROR_CODE)
HANDOFF = SearchAttributeKey.for_keyword(names.SEARCH_HANDOFF)
TAGS = SearchAttributeKey.for_keyword_list(names.SEARCH_TAGS)
JOB = SearchAttributeKey.for_keyword(names.SEARCH_JOB)
JOB_RUN = SearchAttributeKey.for_keyword(names.SEARCH_JOB_RUN)

MEMO_FINGERPRINT = "fingerprint"
"""Name of the memo field with a keyed hash of the request body, against which an Idempotency-Key is checked."""


def project_search_attributes(project: str) -> TypedSearchAttributes:
    """Return the search attributes of a workflow that runs for a project, and ends with it, without being listed."""
    return TypedSearchAttributes([SearchAttributePair(PROJECT, project)])


def run_search_attributes(run_input: RunInput) -> TypedSearchAttributes:
    """Return the search attributes that a Run starts with."""
    pairs: list[SearchAttributePair[Any]] = [
        SearchAttributePair(PROJECT, run_input.project),
        SearchAttributePair(API, run_input.api),
        SearchAttributePair(STATUS, RunStatus.PENDING.value),
        SearchAttributePair(RUN_TYPE, RunType.API.value),
    ]
    if run_input.auth is not None:
        pairs.append(SearchAttributePair(AUTH_SESSION, run_input.auth.ref.id))
    if run_input.job is not None:
        pairs.append(SearchAttributePair(JOB, run_input.job.job_id))
        pairs.append(SearchAttributePair(JOB_RUN, run_input.job.job_run_id))
    if run_input.tags:
        pairs.append(SearchAttributePair(TAGS, run_input.tags))
    return TypedSearchAttributes(pairs)


def run_memo(run_input: RunInput, *, fingerprint: str, rerun_of: str | None = None) -> dict[str, Any]:
    """Return the memo that a Run starts with."""
    memo: dict[str, Any] = {
        names.MEMO_WORKSPACE: run_input.workspace,
        MEMO_FINGERPRINT: fingerprint,
        names.MEMO_SUMMARY: RunSummary(version=run_input.version, parameters=run_input.parameters.beginning).model_dump(
            mode="json"
        ),
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


def job_run_search_attributes(job_run: JobRunInput) -> TypedSearchAttributes:
    """Return the search attributes of a JobRun, at its start or as it continues as new."""
    status = JobRunStatus.PENDING if job_run.state is None else job_run.state.view.status
    return TypedSearchAttributes(
        [
            SearchAttributePair(PROJECT, job_run.project),
            SearchAttributePair(JOB, job_run.job_id),
            SearchAttributePair(STATUS, status.value),
        ]
    )


def job_run_memo(job_run: JobRunInput) -> dict[str, Any]:
    """Return the memo of a JobRun, at its start or as it continues as new: the workspace, and its state."""
    view = job_run_view(job_run)
    return {names.MEMO_WORKSPACE: job_run.workspace, names.MEMO_JOB_RUN: view.model_dump(mode="json")}


def job_run_view(job_run: JobRunInput) -> JobRunView:
    """Return what is shown of a JobRun when this execution of its workflow begins."""
    if job_run.state is not None:
        return job_run.state.view
    rerun = job_run.rerun
    return JobRunView(
        workspace=job_run.workspace,
        project=job_run.project,
        job_id=job_run.job_id,
        definition=job_run.definition,
        type=job_run.type,
        rerun_of=None if rerun is None else rerun.job_run_id,
        progress=JobRunProgress(total=0 if rerun is None else rerun.unfinished),
    )


def job_run_static_details(job_run: JobRunInput) -> str:
    """Describe a JobRun for the reader of the Temporal Web UI."""
    cause = "by its Schedule" if job_run.type is JobRunType.SCHEDULED else "by hand"
    if job_run.started_by is not None:
        cause = f"by `{job_run.started_by}`"
    return f"JobRun of Job `{job_run.job_id}` of project `{job_run.project}`, started {cause}"


def bulk_memo(bulk: BulkInput) -> dict[str, Any]:
    """Return the memo of a bulk, at its start or as it continues as new: the workspace, and how far it has come."""
    return {
        names.MEMO_WORKSPACE: bulk.workspace,
        MEMO_FINGERPRINT: bulk.fingerprint,
        names.MEMO_BULK: bulk.view.model_dump(mode="json"),
        names.MEMO_BULK_FAILURES: [failure.model_dump(mode="json") for failure in bulk.failures],
    }


def code_block(message: str) -> str:
    """Return a message as a Markdown block in which nothing is markup: it may hold text of a page."""
    return "\n\n```\n{}\n```".format(message.replace("`", "'"))


def alerts_memo(workspace: str, alerts: Sequence[Alert] = ()) -> dict[str, Any]:
    """Return the memo of the workflow `Alerts`: the workspace, and the project's alerts, the oldest first."""
    return {names.MEMO_WORKSPACE: workspace, names.MEMO_ALERTS: [each.model_dump(mode="json") for each in alerts]}
