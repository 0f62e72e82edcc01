"""Build all keys of the artifact store. No key is built anywhere else.

    projects/last-deploy.json                               changes with each deploy of any project
    projects/{project}/current.json                         which version is deployed
    projects/{project}/deleting.json                        the project is being deleted
    projects/{project}/deploys/{time}-{action}-{version}-{id}.json    who has deployed, promoted or rolled back to what
    projects/{project}/versions/{version}/manifest.json     its settings and APIs
    projects/{project}/versions/{version}/bundle.tar.gz     its files
    projects/{project}/versions/{version}/files.json        their paths and hashes
    projects/{project}/versions/{version}/resources.json    its files of Jobs and AuthSessions, if it has any
    projects/{project}/versions/{version}/schemas.json      docstrings of its APIs, and JSON Schemas of their parameters
    projects/{project}/environments/{declaration}.txt       the exact packages of an environment that versions run in
    runs/{project}/{runId}/parameters-{hash}.json           parameters over 32 kB
    runs/{project}/{runId}/attempts/{number}/attempt.json   the record of one Attempt, with its outcome
    runs/{project}/{runId}/attempts/{number}/trace.zip      its trace, of Playwright
    runs/{project}/{runId}/attempts/{number}/screenshot.png the last picture of its page, if it did not complete
    runs/{project}/{runId}/attempts/{number}/result.json    its result, if over 32 kB
    runs/{project}/{runId}/attempts/{number}/extended-payloads.json
    runs/{project}/{runId}/attempts/{number}/files/{index}  a file that it has left; its record says its name
    runs/{project}/{runId}/attempts/{number}/log.jsonl      its log
    runs/{project}/{runId}/attempts/{number}/log/{begin}.jsonl    a piece of it while it runs, by its first byte
    runs/{project}/{runId}/reruns/{runId}.json              another Run was started with the inputs of this one
    runs/{project}/{runId}/deliveries/{id}/body.json        what its sink is sent: the same bytes each time
    runs/{project}/{runId}/deliveries/{id}/tries/{time}.json    what came of one try
    runs/{project}/{runId}/accepted.json                    a Create or Update was accepted, and of which AuthSession
    runs/{project}/{runId}/variables-{hash}.sealed          environment variables of its Attempts, if over 4 kB
    auth-sessions/{project}/{owner}/state-{token}.sealed    the browser state of an AuthSession
    auth-sessions/{project}/{owner}/parameters-{runId}.sealed    what a Create, an Update or a runtimeInput logs in with
    jobs/{project}/{jobId}/{definition}/definition.json     a definition of a Job, which is never changed
    jobs/{project}/{jobId}/{definition}/payload/{first}.jsonl    items of its payload, a line each
    job-runs/{project}/{jobRunId}/plan.json                 what all Runs of a JobRun have in common
    job-runs/{project}/{jobRunId}/payload/{first}.jsonl     items that its Runs have added
    job-runs/{project}/{jobRunId}/results/{shard}-{try}.jsonl    results of its Runs, a line each
    uploads/{project}/{id}/bundle.tar.gz                    a project folder as it came over REST, until it is deployed
    uploads/{project}/{id}/built.json                       what a worker with Machines has found out of its packages
    uploads/{project}/{id}/compiled.tar.gz                  what it has compiled, of a project in TypeScript
    keys/{id}/key.json                                      what an API key allows, and its digest
    keys/{id}/last-use.json                                 when it was used
    ended-sessions/{end}-{nonce}                            somebody has signed out of a session of the pages
    values/{project}/{hash of the key}.json                 what user code keeps in `persistent_store`
    variables/workspace/{name}.sealed                       an environment variable of all projects
    variables/projects/{project}/{name}.sealed              an environment variable of a project
    variables/workspace/any, variables/projects/{project}/any    there is such a variable, or was one
    audit/{day}/{time}_{random}_{action}_{actor}_{name}_{project}.json    a change, or a request that was refused

Everything below `projects/` is code that workers execute: give it credentials of its own. The api alone writes below
`variables/`, `keys/` and `ended-sessions/`, and with control workers below `audit/`; workers that have Machines do not
even list what is there.
"""

from __future__ import annotations

import hashlib

PROJECTS = "projects/"
LAST_DEPLOY = "projects/last-deploy.json"
RUNS = "runs/"
JOBS = "jobs/"
JOB_RUNS = "job-runs/"
API_KEYS = "keys/"
ENDED_SESSIONS = "ended-sessions/"
UPLOADS = "uploads/"
AUTH_SESSIONS = "auth-sessions/"
VALUES = "values/"
AUDIT = "audit/"
VARIABLE_SUFFIX = ".sealed"
OF_PROJECTS = (RUNS, JOBS, JOB_RUNS, AUTH_SESSIONS, UPLOADS, VALUES, "variables/projects/", PROJECTS)
"""Where all lies that is stored of a project, behind its name. What is deployed of it comes last."""


def project(name: str) -> str:
    return f"{PROJECTS}{name}/"


def current_version(project: str) -> str:
    return f"projects/{project}/current.json"


def deleting(project: str) -> str:
    return f"projects/{project}/deleting.json"


def deploy_records(project: str) -> str:
    return f"projects/{project}/deploys/"


def deploy_record(project: str, name: str) -> str:
    """Return the key of the record of one deploy; `name` begins with its time, so that keys sort by it."""
    return f"{deploy_records(project)}{name}.json"


def versions(project: str) -> str:
    return f"projects/{project}/versions/"


def version(project: str, version: str) -> str:
    """Return the prefix of all that is stored of a version."""
    return f"{versions(project)}{version}/"


def manifest(project: str, version: str) -> str:
    return f"projects/{project}/versions/{version}/manifest.json"


def bundle(project: str, version: str) -> str:
    return f"projects/{project}/versions/{version}/bundle.tar.gz"


def version_files(project: str, version: str) -> str:
    return f"projects/{project}/versions/{version}/files.json"


def resources(project: str, version: str) -> str:
    return f"projects/{project}/versions/{version}/resources.json"


def input_schemas(project: str, version: str) -> str:
    return f"projects/{project}/versions/{version}/schemas.json"


def environments(project: str) -> str:
    return f"projects/{project}/environments/"


def environment(project: str, declaration: str) -> str:
    return f"{environments(project)}{declaration}.txt"


def run(project: str, run_id: str) -> str:
    return f"runs/{project}/{run_id}/"


def parameters(project: str, run_id: str, digest: str) -> str:
    """Return the key of large parameters; the digest keeps two different bodies of one Idempotency-Key apart."""
    return f"runs/{project}/{run_id}/parameters-{digest}.json"


def attempts(project: str, run_id: str) -> str:
    return f"runs/{project}/{run_id}/attempts/"


def attempt(project: str, run_id: str, number: int, name: str) -> str:
    return f"runs/{project}/{run_id}/attempts/{number}/{name}"


def record(project: str, run_id: str, number: int) -> str:
    return attempt(project, run_id, number, "attempt.json")


def trace(project: str, run_id: str, number: int) -> str:
    return attempt(project, run_id, number, "trace.zip")


def screenshot(project: str, run_id: str, number: int) -> str:
    return attempt(project, run_id, number, "screenshot.png")


def result(project: str, run_id: str, number: int) -> str:
    return attempt(project, run_id, number, "result.json")


def extended_payloads(project: str, run_id: str, number: int) -> str:
    return attempt(project, run_id, number, "extended-payloads.json")


def file(project: str, run_id: str, number: int, index: int) -> str:
    """Return the key of a file of an Attempt; user code may have named it anything, so a number stands for it."""
    return attempt(project, run_id, number, f"files/{index:05}")


def log(project: str, run_id: str, number: int) -> str:
    return attempt(project, run_id, number, "log.jsonl")


def log_piece(project: str, run_id: str, number: int, begin: int) -> str:
    return f"{log_pieces(project, run_id, number)}{begin:012}.jsonl"


def log_pieces(project: str, run_id: str, number: int) -> str:
    return attempt(project, run_id, number, "log/")


def reruns(project: str, run_id: str) -> str:
    return f"runs/{project}/{run_id}/reruns/"


def rerun(project: str, run_id: str, new: str) -> str:
    return f"{reruns(project, run_id)}{new}.json"


def delivery_body(project: str, run_id: str, delivery: str) -> str:
    return f"runs/{project}/{run_id}/deliveries/{delivery}/body.json"


def delivery_tries(project: str, run_id: str, delivery: str) -> str:
    return f"runs/{project}/{run_id}/deliveries/{delivery}/tries/"


def delivery_try(project: str, run_id: str, delivery: str, time: str) -> str:
    """Return the key of the record of one try; `time` is when it began, so that keys sort in the order of tries."""
    return f"{delivery_tries(project, run_id, delivery)}{time}.json"


def persistent_values(project: str) -> str:
    return f"values/{project}/"


def persistent_value(project: str, key: str) -> str:
    """Return the key of a value of a project's `persistent_store`; hashed, since user code may name it anything."""
    return f"{persistent_values(project)}{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}.json"


def accepted(project: str, run_id: str) -> str:
    return f"runs/{project}/{run_id}/accepted.json"


def run_variables(project: str, run_id: str, digest: str) -> str:
    return f"runs/{project}/{run_id}/variables-{digest}.sealed"


def variables(project: str | None) -> str:
    """Return the prefix of the environment variables of a project, or (None) of the workspace."""
    return "variables/workspace/" if project is None else f"variables/projects/{project}/"


def variable(project: str | None, name: str) -> str:
    return f"{variables(project)}{name}{VARIABLE_SUFFIX}"


def any_variable(project: str | None) -> str:
    """Return the key that says that a project, or (None) the workspace, has a variable, or has had one."""
    return f"{variables(project)}any"


def auth_session(project: str, owner: str) -> str:
    """Return the prefix of all artifacts of an AuthSession.

    `owner` is its id, or `~{run id}` for an AuthSession that lives for that Run.
    """
    return f"auth-sessions/{project}/{owner}/"


def auth_session_state(project: str, owner: str, token: str) -> str:
    """Return the key of one state of an AuthSession, which is never written twice: `token` is random."""
    return f"{auth_session(project, owner)}state-{token}.sealed"


def auth_session_parameters(project: str, owner: str, run_id: str) -> str:
    return f"{auth_session(project, owner)}parameters-{run_id}.sealed"


def job_definition(project: str, job_id: str, definition: str) -> str:
    return f"{job_definition_prefix(project, job_id, definition)}definition.json"


def job_definition_prefix(project: str, job_id: str, definition: str) -> str:
    return f"{JOBS}{project}/{job_id}/{definition}/"


def job_payload(project: str, job_id: str, definition: str, first: int) -> str:
    return f"{job_definition_prefix(project, job_id, definition)}payload/{first:08}.jsonl"


def job_run(project: str, job_run_id: str) -> str:
    return f"{JOB_RUNS}{project}/{job_run_id}/"


def job_run_plan(project: str, job_run_id: str) -> str:
    return f"{job_run(project, job_run_id)}plan.json"


def job_run_payload(project: str, job_run_id: str, first: int) -> str:
    return f"{job_run(project, job_run_id)}payload/{first:08}.jsonl"


def job_run_results(project: str, job_run_id: str) -> str:
    return f"{job_run(project, job_run_id)}results/"


def job_run_shard(project: str, job_run_id: str, shard: int, try_number: int) -> str:
    """Return the key of a shard of results, as this try of its activity has written it: the last try counts."""
    return f"{job_run_results(project, job_run_id)}{shard:08}-{try_number:016}.jsonl"


def uploads(project: str) -> str:
    return f"{UPLOADS}{project}/"


def upload(project: str, upload_id: str) -> str:
    """Return the prefix of all that is stored of an upload. Ids sort in the order in which uploads came."""
    return f"{uploads(project)}{upload_id}/"


def upload_bundle(project: str, upload_id: str) -> str:
    return f"{upload(project, upload_id)}bundle.tar.gz"


def upload_build(project: str, upload_id: str) -> str:
    return f"{upload(project, upload_id)}built.json"


def upload_compiled(project: str, upload_id: str) -> str:
    return f"{upload(project, upload_id)}compiled.tar.gz"


def api_key(key_id: str) -> str:
    return f"{API_KEYS}{key_id}/key.json"


def api_key_use(key_id: str) -> str:
    return f"{API_KEYS}{key_id}/last-use.json"


def ended_session(end: int, nonce: str) -> str:
    """Return the key that stands for a session that was ended early; `end` is in seconds since 1970, to sort by it."""
    return f"{ENDED_SESSIONS}{end:012}-{nonce}"


def ended_sessions_until(time: int) -> str:
    """Return what sorts behind the keys of all sessions that would have ended before then, in seconds since 1970."""
    return f"{ENDED_SESSIONS}{time:012}"


def audit_day(day: str) -> str:
    """Return the prefix of the entries of a day."""
    return f"{AUDIT}{day}/"


def audit_entry(day: str, name: str) -> str:
    """Return the key of an entry; `callboard.storage.audit_log` makes its name."""
    return f"{audit_day(day)}{name}.json"
