"""Take one Attempt to a Machine and back: prepare what it needs, have the project's pool run it, build its outcome.

What the outcome refers to is stored before it.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from temporalio.client import Client

from activities.attempts.attempt_artifacts import AttemptRecords
from activities.attempts.attempt_log import LogPolicy
from activities.attempts.handoffs import AttemptHandoffs, OpenQuestions
from activities.attempts.logins import Logins, OpenedLogin
from activities.attempts.project_environments import ProjectEnvironments
from activities.attempts.running_attempts import RunningAttempt, RunningAttempts
from activities.attempts.runtime_services import RuntimeServices, StoreQuota
from activities.store_retry import ATTEMPT_STORE_TIMEOUT, retry_store
from activities.workers.worker_dir import WorkerDir
from callboard.machines.attempt_spec import AttemptReport, AttemptSpec, EvidenceSpec, Proxy, Version, masker_for
from callboard.machines.left_files import FileLimits
from callboard.machines.machine_attempt import MachineAttempt, RoomTimeoutError
from callboard.machines.pool import MachinePools
from callboard.machines.trace_redactor import TraceRedactor
from callboard.projects.catalog import Catalog
from callboard.projects.manifest import Manifest, NodeEnvironment, OwnEnvironment
from callboard.projects.project_settings import ProjectSettings
from callboard.projects.versions import VersionFolders
from callboard.schemas.errors import ConfigurationError, MachineError, SealError, StoreError, Unavailable
from callboard.schemas.rest.attempt import attempt_path
from callboard.schemas.workflow.attempt import (
    AttemptInput,
    AttemptKind,
    AttemptOutcome,
    AttemptStatus,
    AttemptVariables,
)
from callboard.schemas.workflow.base import INLINE_LIMIT, MESSAGE_LIMIT, JsonRef, clip
from callboard.schemas.workflow.handoff import HandoffStatus
from callboard.schemas.workflow.run import QUEUE_TIMED_OUT, ErrorCode, ReasonType, RunError, RunReason
from callboard.security import seal_context
from callboard.security.keyring import KeyRing
from callboard.security.masking import Masker
from callboard.security.secret_detection import find_secrets_in_state
from callboard.storage import object_keys
from callboard.storage.store import Store
from callboard.telemetry.tracing import current_trace_id, current_traceparent

_CHECK_FAILED = RunError(
    code=ErrorCode.AUTH_CHECK_FAILED,
    category="auth",
    message="auth-sessions/check does not find the login good: what it returned is not true.",
    retirable=True,
)

_STATE_NOT_CAPTURED = RunError(
    code=ErrorCode.INTERNAL_SERVER_ERROR,
    category="infrastructure",
    message="auth-sessions/create has ended, but the browser's state could not be captured.",
    retirable=True,
)


@dataclass(frozen=True, kw_only=True)
class AttemptResources:
    """What this worker has for all its Attempts."""

    worker: str
    """Name of the worker process in Temporal."""
    client: Client
    store: Store
    """The artifact store."""
    records: AttemptRecords
    logins: Logins
    catalog: Catalog
    versions: VersionFolders
    environments: ProjectEnvironments
    pools: MachinePools
    keyring: KeyRing
    redactor: TraceRedactor
    running_attempts: RunningAttempts
    """The registry that stops Attempts."""
    worker_dir: WorkerDir
    """The worker's folder, with its journal and the folders of running Attempts."""
    questions: OpenQuestions
    delivery_timeout: timedelta
    """How long one try may take to tell a webhook of a question."""
    store_quota: StoreQuota
    """How much each project may keep in its `persistent_store`."""
    trace_limit: int
    """Largest size of a stored trace, in bytes."""
    log_policy: LogPolicy
    file_limits: FileLimits


async def run_on_machine(resources: AttemptResources, running: RunningAttempt) -> AttemptOutcome:
    """Run the Attempt, and note in `running` what becomes known of it. A cancel stops it on its Machine.

    Raises:
        ApplicationError: Of type `NoLogin` or `AuthSessionGone`: the Attempt has no login to begin with.
        LeaseEndedError: The worker's lease ended before the Attempt did.
    """
    attempt = running.input
    try:
        if not await _is_access_enabled(resources, attempt):
            return _access_disabled(attempt.project)
        manifest = await _fetch_manifest(resources, attempt)
        version = await prepare_version(resources, manifest)
        given = await _open_variables(resources, attempt)
        running.variables = given.recorded
        login = None
        if attempt.auth is not None:
            secret = manifest.settings.auth_sessions.secret_parameters
            login = await resources.logins.load(attempt, attempt.auth, secret, given.secrets)
        spec = await _build_spec(resources, running, login, given, manifest.settings)
        await running.mask_with(lambda _: masker_for(spec))
        services = _runtime_services(resources, running, login, manifest.settings)
        on_machine = MachineAttempt(spec, log=running.log.file, answer_request=services.answer_request)
        running.give_to_machines(on_machine)
        report = await resources.pools[attempt.project].run_attempt(version, on_machine)
        if secrets := (*given.secret_values, *running.answers):
            report = await asyncio.to_thread(_with_outputs_masked, report, Masker(secrets))
        running.attributes, running.unkept = report.attributes or None, report.unkept
        if report.storage_state is not None:  # what the site has set in the meantime is secret, too
            await running.mask_with(partial(_with_secrets_of, report.storage_state))
        return await _build_outcome(resources, attempt, report, login)
    except (MachineError, ConfigurationError, SealError, Unavailable) as error:
        return _failed(f"The Attempt could not begin: {error.message}")
    except RoomTimeoutError:
        return AttemptOutcome(status=AttemptStatus.FAILED, error=QUEUE_TIMED_OUT, final=True)
    except StoreError as error:  # the store has failed for so long that no further Attempt can help
        return _failed(f"The artifact store failed: {error.message}", final=True)


async def _is_access_enabled(resources: AttemptResources, attempt: AttemptInput) -> bool:
    """Tell whether the project's API access is on, by the version that is deployed now, not by the Run's.

    Only Runs of APIs need it that do not belong to a JobRun.
    """
    if attempt.kind is not AttemptKind.API or attempt.job is not None:
        return True
    current = await retry_store(ATTEMPT_STORE_TIMEOUT, lambda: resources.catalog.get_current(attempt.project))
    return current is None or current.settings.api_access.enabled


async def _fetch_manifest(resources: AttemptResources, attempt: AttemptInput) -> Manifest:
    manifest = await retry_store(
        ATTEMPT_STORE_TIMEOUT, lambda: resources.catalog.get_manifest(attempt.project, attempt.version)
    )
    if manifest is None:
        raise StoreError(f"version {attempt.version} of project {attempt.project} is not there any more.")
    return manifest


async def _open_variables(resources: AttemptResources, attempt: AttemptInput) -> AttemptVariables:
    """Return the environment variables that the Attempt is to have.

    Raises:
        ConfigurationError, SealError: They cannot be opened.
        StoreError: The store has failed for long, or they are not there any more.
    """
    if (sealed := attempt.variables) is None:
        return AttemptVariables()
    token, key = sealed.token, sealed.key
    if token is None and key is not None:
        stored = await retry_store(ATTEMPT_STORE_TIMEOUT, lambda: resources.store.get(key))
        token = None if stored is None else stored.decode("ascii", "replace")
    if token is None:
        raise StoreError(f"{key} is not there any more.")
    bound_to = seal_context.run_variables(attempt.workspace, attempt.project, attempt.run_id)
    return AttemptVariables.model_validate_json(resources.keyring.open(token, bound_to=bound_to))


async def prepare_version(resources: AttemptResources, manifest: Manifest) -> Version:
    """Return the version, which is on this host by then, as its environment is.

    Raises:
        MachineError: The project's environment cannot be built.
        StoreError: The store has failed for long.
    """
    project, version = manifest.project, manifest.version
    folder = await retry_store(ATTEMPT_STORE_TIMEOUT, lambda: resources.versions.ensure(project, version))
    python = node = None
    match manifest.environment:
        case OwnEnvironment() as own:
            python = await resources.environments.ensure_python(project, own, folder, within=ATTEMPT_STORE_TIMEOUT)
        case NodeEnvironment() as own:
            node = await resources.environments.ensure_node(project, own, folder, within=ATTEMPT_STORE_TIMEOUT)
        case None:
            pass
    size = manifest.settings.browser_size
    return Version(
        project=project,
        version=version,
        folder=folder,
        memory_limit=manifest.settings.memory_limit,
        width=size.width,
        height=size.height,
        headful=manifest.settings.headful,
        allow_file_urls=manifest.settings.allow_file_urls,
        python=python,
        node=node,
    )


async def _build_spec(
    resources: AttemptResources,
    running: RunningAttempt,
    login: OpenedLogin | None,
    given: AttemptVariables,
    settings: ProjectSettings,
) -> AttemptSpec:
    """Return what the Machine is to execute.

    Raises:
        ConfigurationError, SealError: What is sealed cannot be opened.
        StoreError: The store has failed for long, or the parameters are not there any more.
    """
    attempt = running.input
    proxy = _open_proxy(attempt, resources.keyring)
    run_info: dict[str, Any] = {
        "run_id": attempt.run_id,
        "attempt_path": attempt_path(attempt.workspace, attempt.project, attempt.run_id, attempt.number),
        "proxy": proxy.server if proxy else None,
    }
    if (traceparent := current_traceparent()) is not None:
        run_info |= {"trace_id": current_trace_id(), "traceparent": traceparent}
    if attempt.parent_run_id is not None:
        run_info["parent_run_id"] = attempt.parent_run_id
    if attempt.job is not None:
        run_info |= {"job_id": attempt.job.job_id, "job_run_id": attempt.job.job_run_id}
    if attempt.auth is not None:
        run_info["auth_session_id"] = attempt.auth.ref.id
    return AttemptSpec(
        run_id=attempt.run_id,
        number=attempt.number,
        api=attempt.api,
        parameters=await _fetch_parameters(resources.store, attempt, login),
        timeout=attempt.request_timeout,
        proxy=proxy,
        run_info=run_info,
        kind=attempt.kind,
        storage_state=login.storage_state if login else None,
        capture=attempt.auth is not None and attempt.auth.save_back,
        indexed_db=settings.auth_sessions.indexed_db,
        variables=tuple((variable.name, variable.value) for variable in given.variables),
        secrets=(*(login.secrets if login else ()), *given.secret_values),
        evidence=EvidenceSpec(
            running.folder,
            attempt.trace,
            resources.trace_limit,
            downloads=settings.files.downloads and attempt.kind is not AttemptKind.RECORD,
        ),
        wait_until=running.wait_until,
    )


def _runtime_services(
    resources: AttemptResources, running: RunningAttempt, login: OpenedLogin | None, settings: ProjectSettings
) -> RuntimeServices:
    """Return what answers the requests of user code."""
    attempt = running.input
    return RuntimeServices(
        resources.store,
        attempt.project,
        resources.store_quota,
        AttemptHandoffs(
            resources.client, resources.keyring, running, settings, resources.delivery_timeout, resources.questions
        ),
        auth_session=attempt.auth and attempt.auth.ref,
        parameters=login.parameters if login else None,
        parameters_problem=login.problem if login else None,
    )


async def _fetch_parameters(store: Store, attempt: AttemptInput, login: OpenedLogin | None) -> str:
    if attempt.kind is AttemptKind.CREATE:
        if login is None or login.parameters is None:
            raise StoreError("the parameters of the AuthSession are not there any more.")
        if login.problem is not None:
            raise ConfigurationError(login.problem)
        return login.parameters
    parameters, key = attempt.parameters.text, attempt.parameters.key
    if parameters is None and key is not None:
        stored = await retry_store(ATTEMPT_STORE_TIMEOUT, lambda: store.get(key))
        parameters = None if stored is None else stored.decode()
    if parameters is None:
        raise StoreError(f"{key} is not there any more.")
    return parameters


def _open_proxy(attempt: AttemptInput, keyring: KeyRing) -> Proxy | None:
    proxy = attempt.proxy
    if proxy is None:
        return None
    bound_to = seal_context.run(attempt.workspace, attempt.project, proxy.owner or attempt.run_id)

    def open_sealed(token: str | None) -> str | None:
        return None if token is None else keyring.open(token, bound_to=bound_to)

    return Proxy(server=proxy.server, username=open_sealed(proxy.username), password=open_sealed(proxy.password))


def _with_outputs_masked(report: AttemptReport, masker: Masker) -> AttemptReport:
    """Return the report with secrets masked in what user code has returned and set, and in names of its databases."""

    def masked(text: str | None) -> str | None:
        # It is masked as a value: in the text, a secret of digits could be a part of a number.
        return None if text is None else json.dumps(masker.mask_json(json.loads(text)), separators=(",", ":"))

    return replace(
        report,
        result=masked(report.result),
        extended_payloads=masked(report.extended_payloads),
        attributes=masker.mask_json(report.attributes),
        unkept=None if report.unkept is None else masker.mask_text(report.unkept),
    )


def _with_secrets_of(storage_state: str, masker: Masker) -> Masker:
    return masker.with_secrets(find_secrets_in_state(json.loads(storage_state)))


async def _build_outcome(
    resources: AttemptResources, attempt: AttemptInput, report: AttemptReport, opened: OpenedLogin | None
) -> AttemptOutcome:
    """Return the outcome; the result and the changed login are durable by then.

    Raises:
        StoreError: The store has not taken the result, or the state that a create made, for minutes.
    """
    login = opened.login if opened else None
    if report.status is not AttemptStatus.COMPLETED or report.result is None:
        return AttemptOutcome(
            status=AttemptStatus.FAILED,
            error=report.error,
            final=report.final or attempt.kind is AttemptKind.RECORD,
            retry_after=report.retry_after,
            login=login,
        )
    # The result of a check is `true` or `false`, as JSON text.
    if attempt.kind is AttemptKind.CHECK and report.result == "false":
        return AttemptOutcome(status=AttemptStatus.FAILED, error=_CHECK_FAILED, login=login)
    if attempt.kind is AttemptKind.RECORD and report.storage_state is None:
        return _not_recorded(**json.loads(report.result))
    if attempt.auth is not None and attempt.kind.makes_login:
        if report.storage_state is None:
            return AttemptOutcome(status=AttemptStatus.FAILED, error=_STATE_NOT_CAPTURED)
        login = await resources.logins.save_created(attempt, attempt.auth, report.storage_state)
    elif attempt.auth is not None and opened is not None:
        login = await resources.logins.save_refreshed(attempt, attempt.auth, opened, report.storage_state)
    if attempt.kind is not AttemptKind.API:
        return AttemptOutcome(status=AttemptStatus.COMPLETED, login=login)
    of = (attempt.project, attempt.run_id, attempt.number)
    payloads = report.extended_payloads
    return AttemptOutcome(
        status=AttemptStatus.COMPLETED,
        result=await _inline_or_store(resources.store, object_keys.result(*of), report.result),
        extended_payloads=await _inline_or_store(resources.store, object_keys.extended_payloads(*of), payloads)
        if payloads
        else None,
    )


async def _inline_or_store(store: Store, key: str, text: str) -> JsonRef:
    """Inline a small text into the outcome; store a large one before the outcome is returned."""
    if len(text) <= INLINE_LIMIT:
        return JsonRef(text=text, size=len(text))
    await retry_store(ATTEMPT_STORE_TIMEOUT, lambda: store.put(key, text.encode()))
    return JsonRef(key=key, size=len(text))


def _not_recorded(status: str, reason: str | None) -> AttemptOutcome:
    """Return the outcome of a record without a login, by how its Handoff has ended, or why there was none."""
    why = f": {reason}" if reason else "."
    if status == HandoffStatus.DECLINED:
        message = f"A person was asked to log in, and has declined{why}"
        declined = RunReason(type=ReasonType.CANCELLED_USER_ACTION, message=clip(message, MESSAGE_LIMIT))
        return AttemptOutcome(status=AttemptStatus.CANCELED, reason=declined)
    message = reason or "Nobody has logged in."
    if status == HandoffStatus.EXPIRED:
        message = f"Nobody has logged in within the time of the Handoff (handoffs.maxTimeout){why}"
    error = RunError(
        code=ErrorCode.CREATE_ATTEMPTS_FAILED, category="auth", message=clip(message, MESSAGE_LIMIT), retirable=True
    )
    return AttemptOutcome(status=AttemptStatus.FAILED, error=error, final=True)


def _access_disabled(project: str) -> AttemptOutcome:
    """Return the outcome of an Attempt of a project whose API access was turned off meanwhile."""
    message = f"API access of project {project} was turned off (apiAccess.enabled is false) while the Run waited."
    reason = RunReason(type=ReasonType.API_ACCESS_DISABLED, message=message)
    return AttemptOutcome(status=AttemptStatus.CANCELED, reason=reason)


def _failed(message: str, *, final: bool = False) -> AttemptOutcome:
    error = RunError(
        code=ErrorCode.INTERNAL_SERVER_ERROR,
        category="infrastructure",
        message=clip(message, MESSAGE_LIMIT),
        retirable=True,
    )
    return AttemptOutcome(status=AttemptStatus.FAILED, error=error, final=final)
