"""The search attributes of Runs that workflows start."""

from __future__ import annotations

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from contract.flow import names
from contract.flow.run import RunStatus, RunType


def of_login_run(project: str, auth_session: str, kind: RunType) -> TypedSearchAttributes:
    """Those of a Validate, a Create or an Update."""
    values = {
        names.SEARCH_PROJECT: project,
        names.SEARCH_STATUS: RunStatus.PENDING.value,
        names.SEARCH_RUN_TYPE: kind.value,
        names.SEARCH_AUTH_SESSION: auth_session,
    }
    return TypedSearchAttributes(
        [SearchAttributePair(SearchAttributeKey.for_keyword(name), value) for name, value in values.items()]
    )
