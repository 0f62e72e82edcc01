"""What the Runs of a project tell of it: how many wait, and how the last ones have ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median, quantiles
from typing import Any

from api.runs.records import run_summary
from callboard.schemas.workflow.run import RunStatus, RunType
from callboard.temporal.listing import RunFilter, RunListItem
from callboard.temporal.run_queries import RunQueries

_EVALUATED_RUNS = 200
"""Number of the last ended Runs from which success and durations are computed."""
_SHOWN_RUNS = 5
_ENDED = RunFilter(
    types=frozenset({RunType.API}), statuses=frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELED})
)


async def read_activity(queries: RunQueries, workspace: str, project: str) -> dict[str, Any]:
    """Return what pages tell of a project's Runs, and of the last 200 that have ended how they did, also by API.

    Raises:
        Unavailable: Temporal cannot be reached.
    """
    ended = (await queries.list_runs(workspace, project, _ENDED, limit=_EVALUATED_RUNS)).runs
    by_api: dict[str, list[RunListItem]] = {}
    for run in ended:
        by_api.setdefault(run.api or "", []).append(run)
    return {
        "waiting": await queries.count_waiting(project),
        **_performance(ended),
        "lastRuns": _summaries(ended[:_SHOWN_RUNS]),
        "performance": {
            api: {**_performance(runs), "lastRun": _summaries(runs[:1])[0]} for api, runs in by_api.items()
        },
    }


def _performance(runs: Sequence[RunListItem]) -> dict[str, Any]:
    """Return how many of these Runs succeeded, from 0 to 1, and their durations in seconds, without canceled ones."""
    kept = [run for run in runs if run.status is not RunStatus.CANCELED]
    durations = [(run.ended_at - run.started_at).total_seconds() for run in kept if run.started_at and run.ended_at]
    return {
        "successRate": sum(run.status is RunStatus.COMPLETED for run in kept) / len(kept) if kept else None,
        "medianDuration": median(durations) if durations else None,
        "p95Duration": quantiles(durations, n=20, method="inclusive")[-1] if len(durations) > 1 else None,
        "evaluated": len(kept),
    }


def _summaries(runs: Iterable[RunListItem]) -> list[dict[str, Any]]:
    return [run_summary(run).model_dump(mode="json", by_alias=True) for run in runs]
