"""The check that every workflow has a worker of the build that it is to end on."""

from __future__ import annotations

from temporalio.client import Client

from callboard.cli.doctor.findings import Finding, failed, ok
from callboard.schemas.errors import ConfigurationError, Unavailable
from callboard.schemas.workflow import names
from callboard.temporal.worker_deployment import Build, describe_worker_deployment

_BUILDS = "Builds of workers"


async def check_builds(client: Client) -> Finding:
    """Check that every workflow has a worker of the build that it is to end on."""
    try:
        deployment = await describe_worker_deployment(client)
    except (Unavailable, ConfigurationError) as error:
        return failed(_BUILDS, error.message, "Try again; if the error stays, look at Temporal's log.")
    if not deployment.builds and deployment.current is None:
        return ok(_BUILDS, "No worker has a build id, so Runs that have begun continue with newer code")
    builds = {build.build_id: build for build in deployment.builds}
    waiting = [build for build in deployment.builds if build.open_workflows and not build.has_workers]
    if waiting:
        listed = ", ".join(f"{_workflows(build)} on {build.build_id}" for build in waiting)
        fix = "Start a worker of that build, with CALLBOARD_BUILD_ID as it was, until they have ended."
        return failed(
            _BUILDS, f"Workflows wait for a worker of the build that they began on, and there is none: {listed}.", fix
        )
    if deployment.current is None and not deployment.has_unversioned_workers:
        listed = " or ".join(builds)
        return failed(_BUILDS, "No build is current, so new Runs wait.", _make_current(listed))
    if deployment.current is not None and deployment.current not in builds:
        found = f"New Runs begin on the build {deployment.current}, which has no worker."
        return failed(_BUILDS, found, f"Start one, or make another build current. {_make_current('BUILD')}")
    current = "workers without a build id" if deployment.current is None else f"the build {deployment.current}"
    old = [build for build in deployment.builds if build.build_id != deployment.current]
    kept = "".join(
        f"; workers of the build {build.build_id} "
        + (f"must stay until {_last(build)} ended" if build.open_workflows else "are not needed any more")
        for build in old
    )
    return ok(_BUILDS, f"New Runs begin on {current}{kept}")


def _workflows(build: Build) -> str:
    return "1 workflow" if build.open_workflows == 1 else f"{build.open_workflows} workflows"


def _last(build: Build) -> str:
    return "its last workflow has" if build.open_workflows == 1 else f"its last {build.open_workflows} workflows have"


def _make_current(build_id: str) -> str:
    return (
        f"`temporal worker deployment set-current-version --deployment-name {names.DEPLOYMENT} --build-id {build_id}`"
    )
