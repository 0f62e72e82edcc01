"""The names that clients, workflows, workers and operators use in Temporal. They are fixed in histories.

A comment above a group of names describes all of them; what stands beside or below a name describes that name alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

CALLBOARD_QUEUE = "callboard"
"""Task queue of the workflows that may outlast a version of the workers, and of light activities."""

RUNS_QUEUE = "callboard-runs"
"""Task queue of the workflows `Run`, with their Validates, and of their light activities: with build ids, they end on
the build that they began on."""

DELIVERIES_QUEUE = "callboard-deliveries"
"""Task queue of the workflows `Deliver` and `SinkTest` and their activities, so that unreachable receivers delay
nothing else."""

BUILDS_QUEUE = "callboard-builds"
"""Task queue of the activity `build_version`. All workers that have Machines serve it."""

DEPLOYMENT = "callboard"
"""Temporal's Worker Deployment of workers that have a build id."""

# Search attributes of Runs. An AuthSession has those of its project and of itself. All other workflows that run for a
# project have that of the project, except those that change it as a whole.
SEARCH_PROJECT = "CallboardProject"
SEARCH_API = "CallboardApi"
SEARCH_STATUS = "CallboardStatus"
SEARCH_RUN_TYPE = "CallboardRunType"
SEARCH_AUTH_SESSION = "CallboardAuthSession"
SEARCH_ERROR_CODE = "CallboardErrorCode"  # of a Run that has failed
SEARCH_TAGS = "CallboardTags"
SEARCH_HANDOFF = "CallboardHandoff"  # the kind of the Handoff that waits for a person, of a Run with one

# Search attributes of Jobs, of JobRuns, and of the Runs of JobRuns.
SEARCH_JOB = "CallboardJob"
SEARCH_JOB_RUN = "CallboardJobRun"

_KEYWORDS = (
    *(SEARCH_PROJECT, SEARCH_API, SEARCH_STATUS, SEARCH_RUN_TYPE, SEARCH_AUTH_SESSION, SEARCH_ERROR_CODE),
    *(SEARCH_JOB, SEARCH_JOB_RUN, SEARCH_HANDOFF),
)
SEARCH_ATTRIBUTES: Mapping[str, str] = {**dict.fromkeys(_KEYWORDS, "Keyword"), SEARCH_TAGS: "KeywordList"}
"""All search attributes that a namespace must have, with their types in Temporal's words."""

# Workflow types.
RUN = "Run"  # its workflow id is the Run's id
VALIDATE = "Validate"  # a Run, too
CREATE = "Create"  # a Create or an Update, which is a Run, too
AUTH_SESSION = "AuthSession"  # `auth_session_workflow_id` builds the workflow id
DELIVER = "Deliver"
SINK_TEST = "SinkTest"  # a test of a sink, sent by hand
SWEEP = "Sweep"  # a sweep of the artifact store
JOB_RUN = "JobRun"  # its workflow id is the JobRun's id
TRIGGER_JOB = "TriggerJob"  # what a Job's Schedule starts: it starts a JobRun
JOB_LOCK = "JobLock"  # the lock that the active JobRun of a Job holds; `job_lock_workflow_id` builds the workflow id
APPLY_RESOURCES = "ApplyResources"  # makes Jobs and AuthSessions agree with the files of a project after its deploy
MOVE_POINTER = "MovePointer"  # a promote or a rollback; `project_change_workflow_id` builds the workflow id
DELETE_PROJECT = "DeleteProject"  # its workflow id is of the same form
DEPLOY = "Deploy"  # deploys an upload of a project; its workflow id is of the same form
BULK = "Bulk"  # cancels many Runs, or starts them again; `bulk_workflow_id` builds the workflow id
INBOX = "Inbox"  # the codes for one addressee of a project; `inbox_workflow_id` builds the workflow id
ALERTS = "Alerts"  # counts the Runs of a project that has alerts; `alerts_workflow_id` builds the workflow id
DIAL_LIVE = "DialLive"  # has a worker connect to an api where somebody watches one of its Attempts
FLEET = "Fleet"  # leases Machines to workers; there is one

FLEET_ID = "callboard:fleet"
"""Id of the workflow `Fleet`; no Run can have such an id."""

FLEET_QUEUE = "callboard-fleet"
"""Task queue of the workflow `Fleet`. Workers of every role serve it: leases last as long as any worker lives."""

# Updates, signal and query of the workflow `Fleet`.
RENEW_LEASE = "renew"
LEAVE_FLEET = "leave"
WAKE_FLEET = "wake"
FLEET_STATE = "state"

SWEEP_SCHEDULE = "callboard-sweep"
"""Id of the Schedule that starts sweeps; the ids of their workflows begin with it."""

# Activity types.
ATTEMPT = "attempt"
CHECK = "check"
CREATE_LOGIN = "create"
RECORD_LOGIN = "record"
DELETE_STATES = "forget_states"
STOP_ATTEMPT = "stop_attempt"
CONNECT_LIVE = "connect_live"
RECORD_INTERRUPTED = "record_lost"
COLLECT_VARIABLES = "collect_variables"
PREPARE_DELIVERY = "prepare_delivery"
SEND_DELIVERY = "send_delivery"
SEND_TEST = "send_test"
SWEEP_ARTIFACTS = "sweep_artifacts"
UPDATE_RESOURCES = "update_resources"
MOVE_POINTER_ACTIVITY = "move_pointer"
WITHDRAW_PROJECT = "withdraw_project"
REMOVE_PROJECT = "remove_project"
CHECK_UPLOAD = "check_upload"
BUILD_VERSION = "build_version"
PUBLISH_UPLOAD = "publish_upload"
REMOVE_UPLOAD = "remove_upload"
ACQUIRE_JOB_LOCK = "acquire_job_lock"
RELEASE_JOB_LOCK = "release_job_lock"
PREPARE_JOB_RUN = "prepare_job_run"
EXECUTE_JOB_ITEMS = "execute_job_items"
AWAIT_AUTH_SESSION = "await_auth_session"
IS_RUN_OVER = "is_run_over"
ACT_ON_RUNS = "act_on_runs"
GIVE_CODE = "give_code"
COUNT_RUN = "count_run"

# Signals to Runs.
ATTEMPT_STARTED = "attempt_started"  # from the activity `attempt`, `check` or `create` to its workflow
VALIDATE_STARTED = "validate_started"  # from the activity `check` to the Run that waits for its Validate
RECREATED = "recreated"  # from the workflow `AuthSession` to the Validate that asked
LEASED = "leased"  # from the workflow `AuthSession` to the Run or Validate that is to use its login alone
JOB_RUN_TERMINATED = "job_run_terminated"  # its JobRun is terminated, and so the Run is canceled

# Updates of Runs, and a signal to them.
ASK = "ask"  # from an activity to its workflow: its Attempt asks a person, a `HandoffRequest`
ANSWER = "answer"  # from an api: a `HandoffAnswer`
OPEN_LINK = "open_link"  # from an api: an `OpenedLink`, which counts once
END_HANDOFF = "end_handoff"  # from the activity: a `HandoffAnswer`, as user code does not wait for a person any more

# Signals to the workflow `AuthSession`.
RECREATE = "recreate"
WITHDRAW_RECREATE = "withdraw_recreate"  # with the id of the Validate that has asked
CHECKED = "checked"
SAVED_BACK = "saved_back"
UPDATE_LOGIN = "update_login"
IMPORTED = "imported"
DELETE = "delete"
ACQUIRE_LEASE = "acquire"  # from a Run or a Validate
RELEASE_LEASE = "release"  # with the id of either

# Signal to the workflow `Deliver`.
REDELIVER = "redeliver"  # send again, now

# Signals to the workflow `JobRun`.
PAUSE_JOB_RUN = "pause"
RESUME_JOB_RUN = "resume"
TERMINATE_JOB_RUN = "terminate"
LOCKED = "locked"  # from the workflow `JobLock`: it has waited for the lock, and holds it now

# Signals to the workflow `Inbox`.
PUSH_CODE = "push_code"  # a code has come
WAIT_FOR_CODE = "wait_for_code"  # a Handoff is open that a code may answer

# Signal to the workflow `Alerts`.
COUNT = "count"  # a Run has ended

# Signals to the workflow `JobLock`, with the id of a JobRun.
WAIT_FOR_LOCK = "wait"
RELEASE = "release"

# Fields of memos.
MEMO_WORKSPACE = "workspace"  # of Runs, AuthSessions, Jobs, JobRuns, Deliveries, bulks and alerts
MEMO_VIEW = "authSession"  # of the workflow `AuthSession`: an `AuthSessionView`
MEMO_PARENT = "parentRunId"  # of a Validate or a Create: the Run that waits for it
MEMO_SUMMARY = "summary"  # of Runs: a `RunSummary`, which their workflows keep up to date
MEMO_OUTCOME = "outcome"  # of a Run that somebody has canceled: its `RunOutcome`, as its workflow returns nothing
MEMO_RERUN_OF = "rerunOf"  # of a Run with the inputs of another one: the id of that Run
MEMO_TRACE_ID = "openTelemetryTraceId"  # of a Run that was started in an OpenTelemetry trace: the id of the trace
MEMO_HANDOFFS = "handoffs"  # of a Run that has asked a person: its last `Handoff`s, oldest first
MEMO_JOB_RUN = "jobRun"  # of the workflow `JobRun`: a `JobRunView`, which it keeps up to date
MEMO_HOLDER = "holder"  # of the workflow `JobLock`: the id of the JobRun that holds the lock
MEMO_DEPLOY = "deploy"  # of the workflow `Deploy`: a `DeployView`, which it keeps up to date
MEMO_BULK = "bulk"  # of the workflow `Bulk`: a `BulkView`, which it keeps up to date
MEMO_BULK_FAILURES = "failures"  # of the workflow `Bulk`: a list of `BulkFailure`, not longer than `FAILURES_SHOWN`
MEMO_ALERTS = "alerts"  # of the workflow `Alerts`: the `Alert`s that are open, and the last others, oldest first
MEMO_PROJECT = "project"  # of the workflow `Deliver`
MEMO_SINK = "sink"  # of the workflow `Deliver`: its sink, with secrets masked
MEMO_JOB = "jobId"  # of the workflow `Deliver`, if it tells of the end of a JobRun: the id of its Job

SINK_DELIVERY = "sink"
"""Id of the Delivery of a Run's result. That which tells of a Handoff has the id of the Handoff."""

ALERTS_OWNER = "alerts"
"""Takes the place of a Run's id in the Deliveries that tell of alerts: they belong to a project, and to no Run."""

# Temporal priorities: what has a smaller number takes precedence.
PRIORITY_STARTED = 1  # of the next step of a Run that has started
PRIORITY_PENDING = 3  # of a Run that is pending
PRIORITY_BATCH = 4  # of a pending Run of a JobRun or a bulk, since somebody may wait for any other one
PRIORITY_SWEEP = 5

JOB_RUN_TOKEN_LENGTH = 21
"""How many random characters the id of a JobRun has."""

_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_JOB_RUN_PREFIX = "jr_"
_JOB_RUN_ID = re.compile(rf"jr_[A-Za-z0-9_-]{{{JOB_RUN_TOKEN_LENGTH}}}")
_RUNTIME_OWNER_PREFIX = "~"

_FAIRNESS_KEY_LIMIT = 64
"""Bytes that a fairness key of Temporal may have."""


def fairness_key(name: str) -> str:
    """Return the key by which Temporal serves projects, or receivers of results, by turns; `name` is ASCII text.

    Names that differ only behind the end of the key share its turns.
    """
    return name[:_FAIRNESS_KEY_LIMIT]


def is_run_id(text: str) -> bool:
    """Tell whether a Run may have this id, so that it may be part of a workflow id or of a key of the store."""
    return _RUN_ID.fullmatch(text) is not None


def is_job_id(text: str) -> bool:
    """Tell whether a Job may have this id: it stands in URLs, in workflow ids and in keys of the store."""
    return _JOB_ID.fullmatch(text) is not None


def is_job_run_id(text: str) -> bool:
    """Tell whether a JobRun may have this id."""
    return _JOB_RUN_ID.fullmatch(text) is not None


def job_run_id(token: str) -> str:
    """Return the id of a JobRun; `token` is 21 random characters of those that a Run's id has."""
    return f"{_JOB_RUN_PREFIX}{token}"


def job_item_run_id(job_run_id: str, item: int) -> str:
    """Return the id of the Run of an item of a JobRun; items are counted from 0."""
    return f"{job_run_id.removeprefix(_JOB_RUN_PREFIX)}-{item}"


def item_of_run(run_id: str) -> int:
    """Return the item whose Run has this id, as `job_item_run_id` has made it."""
    return int(run_id.rpartition("-")[2])


def job_schedule_id(project: str, job_id: str) -> str:
    """Return the id of the Schedule that is a Job."""
    return f"job:{project}:{job_id}"


def job_lock_workflow_id(project: str, job_id: str) -> str:
    """Return the workflow id of the lock that the active JobRun of a Job holds."""
    return f"job-lock:{project}:{job_id}"


def inbox_workflow_id(project: str, addressee: str) -> str:
    """Return the workflow id of an Inbox; `addressee` is a keyed hash of who the codes are for."""
    return f"inbox:{project}:{addressee}"


def alerts_workflow_id(project: str) -> str:
    """Return the id of the workflow that counts the Runs of a project for its alerts."""
    return f"alerts:{project}"


def alert_id(token: str) -> str:
    """Return the id of an alert; `token` is a text that no other alert has."""
    return f"al_{token}"


def runtime_owner(run_id: str) -> str:
    """Return the owner of the AuthSession that lives for this Run alone; no other AuthSession can have such an id."""
    return f"{_RUNTIME_OWNER_PREFIX}{run_id}"


def is_runtime_owner(owner: str) -> bool:
    """Tell whether this is the owner of an AuthSession that lives for a single Run."""
    return owner.startswith(_RUNTIME_OWNER_PREFIX)


def project_queue(project: str) -> str:
    """Return the task queue of a project's browser activities.

    A worker offers as many slots of it as it has Machines for the project.
    """
    return f"callboard-project-{project}"


def worker_queue(worker: str) -> str:
    """Return the task queue of one worker process."""
    return f"callboard-worker-{worker}"


def auth_session_workflow_id(project: str, owner: str) -> str:
    """Return the workflow id of an AuthSession; `owner` is the one in `AuthSessionRef`."""
    return f"auth:{project}:{owner}"


def validate_run_id(run_id: str, number: int) -> str:
    """Return the id of the Validate before Attempt `number` of a Run."""
    return f"{run_id}-v{number}"


def handoff_id(run_id: str, attempt: int, number: int) -> str:
    """Return the id of a Handoff; `number` tells it from the others of this Attempt."""
    return f"{run_id}.{attempt}.{number}"


def run_of_handoff(handoff_id: str) -> str:
    """Return the id of the Run that has opened the Handoff."""
    return handoff_id.partition(".")[0]


def attempt_of_handoff(handoff_id: str) -> int:
    """Return the number of the Attempt that has opened the Handoff."""
    return int(handoff_id.split(".")[1])


def attempt_of_validate(validate_run_id: str) -> int:
    """Return the number of the Attempt before which the Validate with this id was executed."""
    return int(validate_run_id.rpartition("-v")[2])


def bulk_workflow_id(project: str, bulk_id: str) -> str:
    """Return the id of the workflow that cancels many Runs of a project, or starts them again."""
    return f"bulk:{project}:{bulk_id}"


def project_change_workflow_id(project: str) -> str:
    """Return the id of all workflows that change a project as a whole, so that only one of them runs at a time."""
    return f"project-change:{project}"


def apply_resources_workflow_id(project: str, deployed_at: datetime) -> str:
    """Return the id of the workflow that applies the files of Jobs and AuthSessions after the deploy of this time."""
    return f"apply-resources:{project}:{deployed_at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"


def delivery_workflow_id(run_id: str, delivery_id: str) -> str:
    """Return the workflow id of a Delivery; no Run can have such an id."""
    return f"{run_id}:{delivery_id}"
