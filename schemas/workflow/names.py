"""Names that clients, workflows, workers and operators meet in Temporal. Fixed: histories hold them."""

from __future__ import annotations

CALLBOARD_QUEUE = "callboard"
"""Workflows and light activities."""

DELIVERIES_QUEUE = "callboard-deliveries"
"""Workflow `Deliver` and its activities, so that dead receivers hold up nothing else."""

SEARCH_PROJECT = "CallboardProject"
SEARCH_API = "CallboardApi"
SEARCH_STATUS = "CallboardStatus"
SEARCH_RUN_TYPE = "CallboardRunType"
SEARCH_AUTH_SESSION = "CallboardAuthSession"

SEARCH_ATTRIBUTES = (SEARCH_PROJECT, SEARCH_API, SEARCH_STATUS, SEARCH_RUN_TYPE, SEARCH_AUTH_SESSION)
"""All that a namespace must have; each of them is of type Keyword."""

RUN = "Run"
"""Workflow type; the workflow id is the Run's id."""

AUTH_SESSION = "AuthSession"
VALIDATE = "Validate"
CREATE = "Create"
"""Workflow types around a login; the ids of Validate and Create are Runs' ids, too."""

DELIVER = "Deliver"
"""Workflow type of a Delivery."""

SINK_TEST = "SinkTest"
"""Workflow type of a test of a sink, sent by hand."""

SWEEP = "Sweep"
"""Workflow type of a sweep of the artifact store."""

SWEEP_SCHEDULE = "callboard-sweep"
"""Id of the Schedule that starts it, and what the ids of its workflows begin with."""

ATTEMPT = "attempt"
CHECK = "check"
CREATE_LOGIN = "create"
FORGET_STATES = "forget_states"
STOP_ATTEMPT = "stop_attempt"
RECORD_LOST = "record_lost"
PREPARE_DELIVERY = "prepare_delivery"
SEND_DELIVERY = "send_delivery"
SEND_TEST = "send_test"
SWEEP_ARTIFACTS = "sweep_artifacts"
"""Activity types."""

ATTEMPT_STARTED = "attempt_started"
"""Signal from activity `attempt` to its workflow."""

VALIDATE_STARTED = "validate_started"
"""Signal from activity `check` to the Run that waits for its Validate."""

RECREATE = "recreate"
CHECKED = "checked"
SAVED_BACK = "saved_back"
UPDATE_LOGIN = "update_login"
IMPORTED = "imported"
DELETE = "delete"
"""Signals to workflow `AuthSession`."""

RECREATED = "recreated"
"""Signal from workflow `AuthSession` to the Validate that asked."""

REDELIVER = "redeliver"
"""Signal to workflow `Deliver`: send again, now."""

MEMO_VIEW = "authSession"
"""Memo of workflow `AuthSession`: an `AuthSessionView`."""

MEMO_WORKSPACE = "workspace"
MEMO_PARENT = "parentRunId"
"""Memo of Runs: whose they are, and which Run waits for a Validate."""

MEMO_SUMMARY = "summary"
"""Memo of Runs: a `RunSummary`, which their workflows keep up to date."""

MEMO_OUTCOME = "outcome"
"""Memo of a Run that somebody has canceled: its `RunOutcome`, since a canceled workflow returns nothing."""

MEMO_RERUN_OF = "rerunOf"
"""Memo of a Run that was started with the inputs of another: the id of that one."""

MEMO_PROJECT = "project"
MEMO_SINK = "sink"
"""Memo of workflow `Deliver`, beside the workspace: whose it is, and its sink as it may be shown."""

SINK_DELIVERY = "sink"
"""Id of the one Delivery that a Run has."""

PRIORITY_BEGUN = 1
"""Temporal priority of a Run that has begun: its next step goes before Runs that have not."""

PRIORITY_NOT_BEGUN = 3

PRIORITY_SWEEP = 5
"""Whatever a Run needs goes before."""


def project_queue(project: str) -> str:
    """Queue of a project's browser activities; a worker offers as many slots as it has Machines for it."""
    return f"callboard-project-{project}"


def worker_queue(worker: str) -> str:
    """Queue for orders to one worker process."""
    return f"callboard-worker-{worker}"


def attempt_activity_id(number: int) -> str:
    """Activity id of an Attempt, so that a worker can answer for one of a dead worker."""
    return f"attempt-{number}"


def auth_session_workflow(project: str, owner: str) -> str:
    """Workflow id of an AuthSession; `owner` as in `AuthSessionRef`."""
    return f"auth:{project}:{owner}"


def validate_run_id(run_id: str, number: int) -> str:
    """Id of the Validate before Attempt `number` of a Run."""
    return f"{run_id}-v{number}"


def delivery_workflow(run_id: str, delivery_id: str) -> str:
    """Workflow id of a Delivery; no Run can have such an id."""
    return f"{run_id}:{delivery_id}"


def sink_test_workflow(test_id: str) -> str:
    """Workflow id of a test of a sink; no Run can have such an id."""
    return f"sink-test:{test_id}"
