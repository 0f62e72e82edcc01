"""The filters of a list of Runs, as forms and addresses of pages have them."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import ImmutableMultiDict

_SEVERAL = ("status", "type", "runId", "api", "authSession", "jobId", "jobRunId", "errorCode", "tag")


def read_filters(params: ImmutableMultiDict[str, str]) -> dict[str, Any]:
    """Return the filters. Those that nothing was chosen for, which forms send as well, are empty."""
    filters: dict[str, Any] = {name: [value for value in params.getlist(name) if value] for name in _SEVERAL}
    filters |= {name: params.get(name) for name in ("startedAfter", "startedBefore")}
    return filters | {"q": params.get("q", "").strip()}
