"""Resolve what all Runs of a JobRun have in common: its Job, the project's defaults, and the version that is deployed.

A value that an item does not have comes from the Job's configuration, else from the project's defaults, else from the
defaults of a start (docs/contract.md, section 6.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from callboard.projects.manifest import Manifest
from callboard.projects.project_settings import Environment
from callboard.schemas.rest.run_auth_session import StoredAuthSession
from callboard.schemas.rest.start_request import Retry, StartRequest
from callboard.schemas.workflow.auth import AuthSessionRef, RunAuth
from callboard.schemas.workflow.auth_session import AuthSessionView
from callboard.schemas.workflow.job import JobAuth, JobDefinition
from callboard.schemas.workflow.job_run import JobRunPlan
from callboard.schemas.workflow.proxy import SealedProxy
from callboard.schemas.workflow.run import RetryIntervals
from callboard.schemas.workflow.sink import DeliverySchedule, SealedSink
from callboard.schemas.workflow.trace import TraceMode
from callboard.security import seal_context
from callboard.security.keyring import KeyRing
from callboard.security.sealed_proxies import seal_proxy
from callboard.security.sealed_sinks import reseal_sink, reseal_webhook, seal_sink

_RUNS_PER_MACHINE = 2
"""How many Runs are in flight for each Machine of the project, unless the Job says otherwise: one that executes, and
one that is ready to follow it at once."""

_ATTEMPTS: int = Retry.model_fields["maximum_attempts"].default
_TIMEOUT: int = StartRequest.model_fields["request_timeout"].default
_AUTH_TIMEOUT: int = StoredAuthSession.model_fields["request_timeout"].default


@dataclass(frozen=True)
class JobPlanner:
    """Makes the plans of JobRuns."""

    ring: KeyRing
    """The keys, which open what is sealed for a Job, and seal it for a JobRun."""
    environment: Environment
    """Where projects run; it chooses among their proxies and sinks."""
    schedule: DeliverySchedule
    """How notifications, and Deliveries to a project's own sink, are tried again."""

    def make_plan(
        self, definition: JobDefinition, manifest: Manifest, job_run_id: str, auth_session: AuthSessionView | None
    ) -> JobRunPlan:
        """Return the plan of a JobRun.

        Args:
            definition: The definition of its Job.
            manifest: The manifest of the version that its Runs execute.
            job_run_id: The id of the JobRun.
            auth_session: The AuthSession that the definition names; None if it names none.

        Raises:
            SealError: A secret of the Job cannot be opened.
            ConfigurationError: There is no key to open or to seal it with.
        """
        settings, defaults = manifest.settings, manifest.settings.defaults
        own_proxy = self._project_proxy(definition, manifest, job_run_id)
        auth = None
        if definition.auth is not None and auth_session is not None:
            auth = _run_auth(definition.auth, auth_session, auth_session.proxy or own_proxy, manifest)
        request_timeout = definition.request_timeout or timedelta(seconds=defaults.request_timeout or _TIMEOUT)
        return JobRunPlan(
            workspace=definition.workspace,
            project=definition.project,
            job_id=definition.job_id,
            job_run_id=job_run_id,
            definition=definition.ref,
            version=manifest.version,
            payload_count=definition.payload_count,
            window=definition.max_concurrent_requests or _RUNS_PER_MACHINE * settings.machines,
            max_runs=definition.max_runs,
            maximum_attempts=definition.maximum_attempts or defaults.retry.maximum_attempts or _ATTEMPTS,
            retry_intervals=RetryIntervals.first_said(definition, defaults.retry),
            request_timeout=request_timeout,
            trace=definition.trace,
            proxy=definition.proxy or (own_proxy if auth is None else auth.proxy),
            auth=auth,
            sink=self._sink(definition, manifest, job_run_id),
            has_alerts=bool(settings.alerts),
            tags=definition.tags,
            notifications=self._notifications(definition, job_run_id),
        )

    def _project_proxy(self, definition: JobDefinition, manifest: Manifest, job_run_id: str) -> SealedProxy | None:
        url = manifest.settings.proxy_in(self.environment)
        if url is None:
            return None
        return seal_proxy(url, self.ring, workspace=definition.workspace, project=definition.project, owner=job_run_id)

    def _sink(self, definition: JobDefinition, manifest: Manifest, job_run_id: str) -> SealedSink | None:
        for_owner = seal_context.run(definition.workspace, definition.project, job_run_id)
        if definition.sink is not None:
            return reseal_sink(definition.sink, self.ring, bound_to=_job(definition), for_owner=for_owner)
        sink = manifest.settings.sink_in(self.environment)
        return None if sink is None else seal_sink(sink, self.schedule, self.ring, for_owner)

    def _notifications(self, definition: JobDefinition, job_run_id: str) -> tuple[SealedSink, ...]:
        for_owner = seal_context.run(definition.workspace, definition.project, job_run_id)
        webhooks = (
            reseal_webhook(webhook, self.ring, bound_to=_job(definition), for_owner=for_owner)
            for webhook in definition.notifications
        )
        return tuple(SealedSink(webhook=webhook, schedule=self.schedule) for webhook in webhooks)


def _job(definition: JobDefinition) -> str:
    return seal_context.job(definition.workspace, definition.project, definition.job_id)


def _run_auth(auth: JobAuth, view: AuthSessionView, proxy: SealedProxy | None, manifest: Manifest) -> RunAuth:
    return RunAuth(
        ref=AuthSessionRef(id=view.id, type=view.type, owner=view.id),
        auto_recreate=manifest.settings.auth_sessions.can_recreate(view),
        check_attempts=auth.check_attempts,
        create_attempts=auth.create_attempts,
        request_timeout=timedelta(seconds=_AUTH_TIMEOUT),
        trace=TraceMode.of("on-failure" if auth.save_trace == "on-failure" else bool(auth.save_trace)),
        proxy=proxy,
        save_back=manifest.settings.auth_sessions.save_back,
        is_exclusive=auth.is_exclusive or manifest.settings.defaults.auth_session.lease is not None,
    )
