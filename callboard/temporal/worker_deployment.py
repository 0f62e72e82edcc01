"""The builds of workers in Temporal: which one a worker is, which are known and current, which have work to finish."""

from __future__ import annotations

from dataclasses import dataclass, field

from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentRequest
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import WorkerDeploymentConfig

from callboard.schemas.workflow import names
from callboard.temporal.pollers import fetch_recent_pollers
from callboard.temporal.rpc_errors import RPC_TIMEOUT, translate_operator_errors


@dataclass(frozen=True)
class Build:
    """One build of workers: a version of the Worker Deployment `callboard`."""

    build_id: str
    open_workflows: int
    """How many workflows are pinned to it and have not ended: no other build continues them."""
    has_workers: bool
    """Whether workers of it have polled in the last minutes."""


@dataclass(frozen=True)
class WorkerDeployment:
    """The builds that Temporal knows."""

    current: str | None = None
    """Id of the build on which new Runs begin; None if they begin on workers without a build id."""
    builds: list[Build] = field(default_factory=list[Build])
    """Those that have workers, or workflows that have not ended."""
    has_unversioned_workers: bool = False
    """Whether workers without a build id are there."""


def deployment_config(build_id: str | None, behavior: VersioningBehavior) -> WorkerDeploymentConfig | None:
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


async def describe_worker_deployment(client: Client) -> WorkerDeployment:
    """Describe the Worker Deployment of the client's namespace.

    Raises:
        ConfigurationError: Temporal refuses to say.
        Unavailable: Temporal cannot be reached.
    """
    with translate_operator_errors(client, f"describe the Worker Deployment {names.DEPLOYMENT}"):
        pollers = await fetch_recent_pollers(client, names.CALLBOARD_QUEUE)
        polling = {poller.deployment_options.build_id for poller in pollers}
        request = DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=names.DEPLOYMENT)
        try:
            answer = await client.workflow_service.describe_worker_deployment(request, timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return WorkerDeployment(has_unversioned_workers="" in polling)
        info = answer.worker_deployment_info
        known = [summary.deployment_version.build_id for summary in info.version_summaries]
        builds = [Build(build_id, await _count_pinned(client, build_id), build_id in polling) for build_id in known]
    return WorkerDeployment(
        info.routing_config.current_deployment_version.build_id or None,
        [build for build in builds if build.open_workflows or build.has_workers],
        "" in polling,
    )


async def _count_pinned(client: Client, build_id: str) -> int:
    """Count the workflows that only this build continues; those that move to the current build are left out."""
    query = (
        f"TemporalWorkerDeploymentVersion = '{names.DEPLOYMENT}:{build_id}'"
        " AND TemporalWorkflowVersioningBehavior = 'Pinned' AND ExecutionStatus = 'Running'"
    )
    return (await client.count_workflows(query, rpc_timeout=RPC_TIMEOUT)).count
