"""Compose the part of a worker process that has the role `control`: workflows, light activities, Deliveries."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig

from activities.artifact_sweeper import ArtifactSweeper
from activities.artifacts import ArtifactActivities
from activities.attempts.attempt_records import AttemptRecords
from activities.deliveries.delivery_sender import DeliverySender
from activities.delivery import DeliveryActivities
from activities.job_run import JobRunActivities
from activities.jobs.job_planner import JobPlanner
from activities.project_changes import ProjectActivities
from activities.resource import ResourceActivities
from activities.resources.file_auth_sessions import FileAuthSessions
from activities.resources.file_jobs import FileJobs
from activities.upload_deploys import UploadActivities
from activities.variables import VariableActivities
from projects.catalog import Catalog
from projects.dotenv import DevFolders
from projects.job_definition import JobDefiner
from projects.secret_references import SecretSources
from projects.upload import UploadLimits
from projects.variables import Variables
from schemas.rest.env_vars import VariableScope
from schemas.workflow import names
from security.egress import EgressPolicy
from security.keyring import KeyRing
from security.pinned_transport import PinnedTransport
from security.sealed_sinks import delivery_schedule
from security.signing import WebhookSigner
from settings import Settings, installed_version
from storage.store import Store
from temporal.auth_sessions import AuthSessions
from temporal.jobs import Jobs
from temporal.run_waits import RunWaits
from temporal.worker_shutdown import running_worker
from temporal.workflow_metrics import WorkflowMetrics
from workflows.apply_resources import ApplyResourcesWorkflow
from workflows.auth_session import AuthSessionWorkflow
from workflows.create import CreateWorkflow
from workflows.deliver import DeliverWorkflow
from workflows.deploy import DeployWorkflow
from workflows.job_lock import JobLockWorkflow
from workflows.job_run import JobRunWorkflow
from workflows.project_changes import DeleteProjectWorkflow, MovePointerWorkflow
from workflows.run_workflow import RunWorkflow
from workflows.sink_test import SinkTestWorkflow
from workflows.sweep import SweepWorkflow
from workflows.trigger_job import TriggerJobWorkflow
from workflows.validate import ValidateWorkflow

GRACEFUL_SHUTDOWN_TIMEOUT = timedelta(seconds=5)
"""How long the light activities, and the tries of Deliveries, may go on when the worker stops."""

_STICKY_TIMEOUT = timedelta(seconds=1)
"""How long a workflow task of a Run waits for the worker that has the Run in its cache. By default it is ten
seconds, for which every Run of a killed worker would stand still; a worker that takes over only reads a short
history again."""
_WORKFLOW_RUNNER = UnsandboxedWorkflowRunner()
"""Runner that executes workflows without the SDK's sandbox: all are Callboard's own, and tests run and replay them
in the sandbox. Here the sandbox would take a third of what a worker computes for a Run."""
_MAX_CONCURRENT_ACTIVITIES = 1_000
"""How many light activities run at the same time. Each JobRun that is active occupies one, which mostly waits."""
_OF_RUNS = (RunWorkflow, ValidateWorkflow, CreateWorkflow, AuthSessionWorkflow)
"""The workflows that a Run consists of; the last one for an AuthSession that lives for it alone."""
_MAX_CONCURRENT_DELIVERIES = 500
"""How many tries of Deliveries run at the same time: one that waits for an unreachable receiver takes one of these
for half a minute, and the memory of what it sends."""


@asynccontextmanager
async def workflow_worker(settings: Settings, client: Client, identity: str, store: Store) -> AsyncGenerator[None]:
    """Run the Temporal workers for workflows, for the activities on artifacts and for those of Jobs.

    With a build id, Runs end on the build that they began on; AuthSessions and JobRuns, which may last for years, move
    to the current one. So each have a task queue: Temporal takes what is so by default from the worker.
    """
    sweeper = ArtifactSweeper(client, store, settings.audit_retention, version_retention=settings.version_retention)
    artifacts = ArtifactActivities(store, AttemptRecords(store, client.data_converter), sweeper)
    waits = RunWaits(client)
    ring = KeyRing.of(settings)
    planner = JobPlanner(ring=ring, environment=settings.environment, schedule=delivery_schedule(settings))
    catalog = Catalog(store, max_age=settings.poll_versions)
    job_runs = JobRunActivities(client=client, store=store, catalog=catalog, planner=planner, waits=waits)
    resources = _resource_activities(settings, client, store, ring)
    changes = ProjectActivities(
        client=client, store=store, max_machines=settings.max_machines, catalog_age=settings.poll_versions
    )
    variables = _variable_activities(settings, client, store, ring)
    of_runs = [artifacts.record_interrupted, artifacts.delete_states, variables.collect_variables]
    uploads = UploadActivities(
        store=store,
        root=settings.make_folder("deploys"),
        limits=UploadLimits(settings.upload_limit, settings.upload_unpacked_limit, settings.upload_files),
        max_machines=settings.max_machines,
    )

    def serving(
        queue: str, behavior: VersioningBehavior, workflows: Sequence[type], activities: Sequence[Callable[..., Any]]
    ) -> AbstractAsyncContextManager[None]:
        worker = Worker(
            client,
            task_queue=queue,
            workflows=workflows,
            activities=activities,
            identity=identity,
            interceptors=[WorkflowMetrics()],
            max_concurrent_activities=_MAX_CONCURRENT_ACTIVITIES,
            max_concurrent_local_activities=_MAX_CONCURRENT_ACTIVITIES,
            deployment_config=deployment(settings.build_id, behavior),
            workflow_runner=_WORKFLOW_RUNNER,
            sticky_queue_schedule_to_start_timeout=_STICKY_TIMEOUT,
            graceful_shutdown_timeout=GRACEFUL_SHUTDOWN_TIMEOUT,
        )
        return running_worker(worker, grace=GRACEFUL_SHUTDOWN_TIMEOUT)

    runs = serving(names.RUNS_QUEUE, VersioningBehavior.PINNED, _OF_RUNS, of_runs)
    others = serving(
        names.CALLBOARD_QUEUE,
        VersioningBehavior.AUTO_UPGRADE,
        # AuthSessions have Creates, JobRuns have Validates, and Runs of earlier versions are here.
        [
            *(*_OF_RUNS, SweepWorkflow, TriggerJobWorkflow, ApplyResourcesWorkflow, JobRunWorkflow, JobLockWorkflow),
            *(MovePointerWorkflow, DeleteProjectWorkflow, DeployWorkflow),
        ],
        [
            *of_runs,
            artifacts.sweep_artifacts,
            job_runs.acquire_job_lock,
            job_runs.release_job_lock,
            job_runs.prepare_job_run,
            job_runs.execute_job_items,
            job_runs.await_auth_session,
            resources.update_resources,
            uploads.check_upload,
            uploads.publish_upload,
            uploads.remove_upload,
            changes.move_pointer,
            changes.withdraw_project,
            changes.remove_project,
        ],
    )
    try:
        async with runs, others:
            yield
    finally:
        await waits.close()


def _variable_activities(settings: Settings, client: Client, store: Store, ring: KeyRing) -> VariableActivities:
    return VariableActivities(
        variables=Variables(settings.workspace, store, ring),
        store=store,
        keyring=ring,
        sources=SecretSources.of(settings.secrets_dir, settings.vault_url, settings.vault_token, settings.egress_allow),
        auth_sessions=AuthSessions(client),
        scope=VariableScope.seen_in(settings.environment),
        dev=None if settings.dev_projects is None else DevFolders(settings.dev_projects),
    )


def _resource_activities(settings: Settings, client: Client, store: Store, ring: KeyRing) -> ResourceActivities:
    egress = EgressPolicy(settings.egress_allow)
    jobs = FileJobs(
        workspace=settings.workspace,
        store=store,
        ring=ring,
        definer=JobDefiner(settings.workspace, store, ring, egress, delivery_schedule(settings)),
        jobs=Jobs(client),
    )
    auth_sessions = FileAuthSessions(
        workspace=settings.workspace,
        environment=settings.environment,
        store=store,
        ring=ring,
        auth_sessions=AuthSessions(client),
    )
    return ResourceActivities(store, jobs, auth_sessions)


def deployment(build_id: str | None, behavior: VersioningBehavior) -> WorkerDeploymentConfig | None:
    """Return the version of a Worker Deployment that a worker with this build id is; None if it has none.

    Only workers for workflows have one. Those for Attempts serve every build, as what they are sent is only added to.

    Args:
        build_id: The build id, or None.
        behavior: Whether workflows stay on the build that they began on, unless their definition says otherwise.
    """
    if build_id is None:
        return None
    version = WorkerDeploymentVersion(names.DEPLOYMENT, build_id)
    return WorkerDeploymentConfig(version, use_worker_versioning=True, default_versioning_behavior=behavior)


@asynccontextmanager
async def delivery_worker(settings: Settings, client: Client, identity: str, store: Store) -> AsyncGenerator[None]:
    """Run the Temporal worker that delivers results.

    It has a task queue and slots of its own, so that dead receivers delay nothing else.
    """
    async with PinnedTransport(EgressPolicy(settings.egress_allow)) as transport:
        delivery_sender = DeliverySender(
            store=store,
            transport=transport,
            keyring=KeyRing.of(settings),
            signer=WebhookSigner([secret.get_secret_value() for secret in settings.webhook_secrets]),
            user_agent=f"callboard/{installed_version()}",
        )
        activities = DeliveryActivities(
            client=client, store=store, delivery_sender=delivery_sender, places=_MAX_CONCURRENT_DELIVERIES
        )
        worker = Worker(
            client,
            task_queue=names.DELIVERIES_QUEUE,
            workflows=[DeliverWorkflow, SinkTestWorkflow],
            activities=[activities.prepare_delivery, activities.send_delivery, activities.send_test],
            identity=identity,
            interceptors=[WorkflowMetrics()],
            max_concurrent_activities=_MAX_CONCURRENT_DELIVERIES,
            # A Delivery may be tried for days.
            deployment_config=deployment(settings.build_id, VersioningBehavior.AUTO_UPGRADE),
            workflow_runner=_WORKFLOW_RUNNER,
            sticky_queue_schedule_to_start_timeout=_STICKY_TIMEOUT,
            graceful_shutdown_timeout=GRACEFUL_SHUTDOWN_TIMEOUT,
        )
        async with running_worker(worker, grace=GRACEFUL_SHUTDOWN_TIMEOUT):
            yield
