"""Names that clients, workflows, workers and operators meet in Temporal. Fixed: histories hold them."""

from __future__ import annotations

CALLBOARD_QUEUE = "callboard"
"""Workflows and light activities."""

SEARCH_PROJECT = "CallboardProject"
SEARCH_API = "CallboardApi"
SEARCH_STATUS = "CallboardStatus"
SEARCH_RUN_TYPE = "CallboardRunType"
SEARCH_AUTH_SESSION = "CallboardAuthSession"

RUN = "Run"
"""Workflow type; the workflow id is the Run's id."""

ATTEMPT = "attempt"
STOP_ATTEMPT = "stop_attempt"
RECORD_LOST = "record_lost"
"""Activity types."""

ATTEMPT_STARTED = "attempt_started"
"""Signal from activity `attempt` to its workflow."""

PRIORITY_BEGUN = 1
"""Temporal priority of a Run that has begun: its next step goes before Runs that have not."""

PRIORITY_NOT_BEGUN = 3


def project_queue(project: str) -> str:
    """Queue of a project's browser activities; a worker offers as many slots as it has Machines for it."""
    return f"callboard-project-{project}"


def worker_queue(worker: str) -> str:
    """Queue for orders to one worker process."""
    return f"callboard-worker-{worker}"


def attempt_activity_id(number: int) -> str:
    """Activity id of an Attempt, so that a worker can answer for one of a dead worker."""
    return f"attempt-{number}"
